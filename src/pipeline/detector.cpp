#include "pipeline/detector.h"

#include <algorithm>
#include <future>
#include <utility>

#include "base/error.h"
#include "data/prepared_images.h"
#include "eval/detections_json.h"
#include "onnx/check.h"
#include "onnx/metadata.h"
#include "pipeline/export.h"
#include "pipeline/output_form.h"

namespace yoloquant::pipeline {
namespace {

using graph::Head;

constexpr int kDefaultExtent = 640;
constexpr int kMaxExtent = 1 << 14;

// Decimals of the boxes in detections.json: a hundredth of a pixel would move the figures.
constexpr int kBoxDigits = 3;

struct FileDescription {
  graph::Metadata metadata;
  Shape input;  // -1 where an extent is not fixed
  Shape output;
};

Shape shape_of(const onnx::ValueDescription& value) {
  Shape shape;
  for (const onnx::Dimension& extent : value.shape) shape.push_back(extent.size.value_or(-1));
  return shape;
}

FileDescription describe(const std::filesystem::path& path) {
  const onnx::CheckReport report = onnx::check(path);
  if (!report.ok()) fail("not a valid ONNX file: {}", report.problems[0]);
  if (report.outputs.size() != 1) {
    fail("the file has {} outputs; a detector has one", report.outputs.size());
  }
  FileDescription description;
  description.metadata = onnx::parse_metadata(report.metadata);
  description.output = shape_of(report.outputs[0]);
  if (!report.inputs.empty()) description.input = shape_of(report.inputs[0]);
  return description;
}

OutputKind kind_of(const FileDescription& file, Head wanted) {
  const std::vector<int64_t>& shape = file.output;
  if (shape.size() != 3) {
    fail("its output is {}; a detector's is [N, 4 + classes, anchors] or [N, K, 6]",
         shape_string(shape));
  }
  const auto named = static_cast<int64_t>(file.metadata.names.size());
  const Head stored =
      file.metadata.head.empty() ? Head::kBoth : graph::parse_head(file.metadata.head);
  const OutputForm form = output_form(shape, file.input);
  if (form == OutputForm::kEndToEnd) {
    if (wanted != Head::kBoth && wanted != Head::kEndToEnd) {
      fail_usage("the file is end to end (output {}): it has no raw {} head", shape_string(shape),
                 graph::head_name(wanted));
    }
    return {.head = Head::kEndToEnd, .class_count = named};
  }
  const int64_t counted = class_count_of(form, shape);
  const int64_t classes = counted > 0 || shape[1] > 0 ? counted : named;
  if (classes < 1) fail("its output {} has no class scores", shape_string(shape));
  if (named > 0 && named != classes) {
    fail("its output {} has {} classes, its metadata names {}", shape_string(shape), classes,
         named);
  }
  if (stored != Head::kBoth && wanted != Head::kBoth && stored != wanted) {
    fail_usage("the file holds the {} head, not {}", graph::head_name(stored),
               graph::head_name(wanted));
  }
  Head head = stored != Head::kBoth ? stored : wanted;
  if (head == Head::kBoth) head = Head::kOneToMany;
  if (head == Head::kEndToEnd) {
    fail_usage("the file has a raw output {}: it is not end to end", shape_string(shape));
  }
  return {.head = head, .class_count = classes, .rows = form == OutputForm::kRows};
}

// The extent to run at: the file's when it is fixed, else the wanted one.
int choose_extent(int64_t declared, int64_t wanted, const char* what) {
  if (declared > 0 && wanted > 0 && declared != wanted) {
    fail_usage("the file's {} is fixed at {} pixels, not {}", what, declared, wanted);
  }
  const int64_t extent = declared > 0 ? declared : (wanted > 0 ? wanted : kDefaultExtent);
  if (extent > kMaxExtent) fail("{} of {} pixels", what, extent);
  return static_cast<int>(extent);
}

}  // namespace

DetectorOptions detector_options(const EvalOptions& options, int64_t class_count) {
  DetectorOptions detector;
  detector.head = options.head;
  detector.image_height = options.image_height;
  detector.image_width = options.image_width;
  detector.class_count = class_count;
  detector.session = {
      .provider = options.provider, .device = options.device, .threads = options.threads};
  detector.decode = {options.conf, options.iou, options.max_det, options.pre_nms_topk};
  return detector;
}

OutputKind output_kind(const std::filesystem::path& onnx, Head wanted) {
  return with_context(onnx.string(), [&] { return kind_of(describe(onnx), wanted); });
}

Detector::Detector(const std::filesystem::path& onnx, const DetectorOptions& options)
    : path_(onnx), options_(options), session_(onnx, options.session) {
  with_context(path_.string(), [&] {
    const FileDescription file = describe(path_);
    kind_ = kind_of(file, options_.head);
    names_ = file.metadata.names;
    if (kind_.class_count == 0) kind_.class_count = options_.class_count;
    if (session_.inputs().size() != 1) fail("the file has {} inputs", session_.inputs().size());
    const Shape& shape = session_.inputs()[0].shape;
    if (shape.size() != 4 || (shape[1] > 0 && shape[1] != 3)) {
      fail("its input {} is no image batch [N, 3, H, W]", shape_string(shape));
    }
    batch_ = std::max<int64_t>(shape[0], 1);
    if (batch_ > 1024) fail("a batch of {}", batch_);
    height_ = choose_extent(shape[2], options_.image_height, "height");
    width_ = choose_extent(shape[3], options_.image_width, "width");
  });
}

std::vector<eval::Detection> Detector::decode_one(std::span<const float> output) const {
  if (kind_.rows) return eval::decode_rows(output, kind_.class_count, options_.decode);
  switch (kind_.head) {
    case Head::kOneToOne:
      return eval::decode_one2one(output, kind_.class_count, options_.decode);
    case Head::kEndToEnd:
      return eval::decode_end2end(output, kind_.class_count, options_.decode);
    case Head::kOneToMany:
    case Head::kBoth:
      break;
  }
  return eval::decode_one2many(output, kind_.class_count, options_.decode);
}

void Detector::decode(const Tensor& output, const std::vector<Meta>& metas,
                      const OnImage& on_image) const {
  const Tensor values = output.to_float32();
  const auto all = values.data<float>();
  const size_t each = all.size() / static_cast<size_t>(std::max<int64_t>(values.dim(0), 1));
  for (size_t i = 0; i < metas.size(); ++i) {
    on_image(metas[i].index, metas[i].letterbox, decode_one(all.subspan(i * each, each)));
  }
}

void Detector::run(const data::ImageList& images, const OnImage& on_image, Progress& progress,
                   std::string_view task) {
  data::PreparedImages loader(images, {.input_width = width_, .input_height = height_});
  progress.start(task, static_cast<int64_t>(images.size()));
  data::PreparedImage image;
  std::future<void> decoding;
  size_t done = 0;
  while (done < images.size()) {
    Tensor input(DType::kFloat32, {batch_, 3, height_, width_});
    std::vector<Meta> metas;
    const auto values = input.mutable_data<float>();
    for (int64_t place = 0; place < batch_ && loader.next(image); ++place) {
      std::ranges::copy(image.input,
                        values.begin() + place * static_cast<int64_t>(image.input.size()));
      metas.push_back({image.index, image.letterbox});
    }
    if (metas.empty()) break;
    done += metas.size();
    Tensor output = std::move(session_.run({input}).at(0));
    // One decoder at a time keeps the order and bounds the memory.
    if (decoding.valid()) decoding.get();
    decoding =
        std::async(std::launch::async, [this, output = std::move(output), metas = std::move(metas),
                                        &on_image] { decode(output, metas, on_image); });
    progress.update(static_cast<int64_t>(done));
  }
  if (decoding.valid()) decoding.get();
  progress.finish();
}

Tensor Detector::input_of(const std::filesystem::path& path) const {
  Tensor input(DType::kFloat32, {batch_, 3, height_, width_});
  const size_t size = 3 * static_cast<size_t>(height_) * static_cast<size_t>(width_);
  data::letterbox(data::read_image(path), width_, height_,
                  input.mutable_data<float>().subspan(0, size));
  return input;
}

void detect_to_file(Detector& detector, const ImageSet& images, const std::filesystem::path& path,
                    Progress& progress, std::string_view task) {
  std::vector<eval::CocoDetection> detections;
  const auto on_image = [&](size_t index, const data::Letterbox& letterbox,
                            const std::vector<eval::Detection>& found) {
    eval::append_coco_detections(found, letterbox, images.ids[index], images.categories,
                                 &detections);
  };
  detector.run(images.paths, on_image, progress, task);
  eval::write_detections(path, detections, kBoxDigits);
}

PrepareOptions prepare_options(const EvalOptions& options) {
  return {.head = options.head,
          .seed = options.seed,
          .image_height = options.image_height,
          .image_width = options.image_width,
          .max_detections = options.max_det};
}

PreparedModel prepare_model(const std::string& name, const std::filesystem::path& folder,
                            const PrepareOptions& options, Progress& progress) {
  if (model_kind(name) == ModelKind::kOnnx) return {name, {}};
  const Head head = options.head == Head::kBoth ? Head::kOneToMany : options.head;
  const LoadedModel model = load_model(name, {.seed = options.seed,
                                              .image_height = options.image_height,
                                              .image_width = options.image_width});
  const auto path = folder / fmt::format("{}_{}.onnx", model.name, graph::head_name(head));
  export_onnx(model, path, {.head = head, .max_detections = options.max_detections}, progress);
  return {path, model.warnings};
}

}  // namespace yoloquant::pipeline
