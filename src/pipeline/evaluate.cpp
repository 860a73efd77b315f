#include "pipeline/evaluate.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/coco_dataset.h"
#include "eval/detections_json.h"
#include "pipeline/detector.h"
#include "pipeline/metrics_files.h"

namespace yoloquant::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

// Decimals of the boxes in detections.json: a hundredth of a pixel would move the figures.
constexpr int kBoxDigits = 3;

std::vector<int64_t> choose_image_ids(const data::CocoDataset& dataset,
                                      const EvalOptions& options) {
  if (options.max_images < 0) fail_usage("the number of images must not be negative");
  if (!options.image_ids.empty()) return dataset.checked_image_ids(options.image_ids);
  std::vector<int64_t> ids = dataset.first_image_ids(options.max_images);
  if (ids.empty()) fail("{}: the data set has no images", dataset.annotation_file().string());
  return ids;
}

data::ImageList image_paths(const data::CocoDataset& dataset, const std::vector<int64_t>& ids) {
  data::ImageList paths;
  paths.reserve(ids.size());
  for (const int64_t id : ids) {
    paths.push_back(
        dataset.image_path(dataset.images()[static_cast<size_t>(dataset.image_index(id))]));
  }
  return paths;
}

void check_classes(int64_t model_classes, const data::CocoDataset& dataset) {
  const auto categories = static_cast<int64_t>(dataset.categories().size());
  if (model_classes != categories) {
    fail(
        "the model has {} classes, the data set {} categories: class i is taken for the i-th "
        "category by id, so the numbers must agree",
        model_classes, categories);
  }
}

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

// Detections of all images, written to `path`.
void detect(Detector& detector, const data::CocoDataset& dataset, const std::vector<int64_t>& ids,
            const std::filesystem::path& path, Progress& progress) {
  std::vector<eval::CocoDetection> detections;
  const auto on_image = [&](size_t index, const data::Letterbox& letterbox,
                            const std::vector<eval::Detection>& found) {
    eval::append_coco_detections(found, letterbox, ids[index], dataset.categories(), &detections);
  };
  detector.run(image_paths(dataset, ids), on_image, progress);
  eval::write_detections(path, detections, kBoxDigits);
}

}  // namespace

EvalResult evaluate_model(const std::string& model, const std::filesystem::path& out,
                          const EvalOptions& options, Progress& progress) {
  if (options.coco_root.empty()) fail_usage("name the data set's folder (--coco)");
  const auto dataset = data::CocoDataset::open(options.coco_root, options.split);
  const std::vector<int64_t> ids = choose_image_ids(dataset, options);
  const PreparedModel prepared = prepare_model(model, out,
                                               {.head = options.head,
                                                .seed = options.seed,
                                                .image_height = options.image_height,
                                                .image_width = options.image_width,
                                                .max_detections = options.max_det},
                                               progress);
  Detector detector(prepared.onnx,
                    detector_options(options, static_cast<int64_t>(dataset.categories().size())));
  with_context(prepared.onnx.string(),
               [&] { check_classes(detector.kind().class_count, dataset); });

  EvalResult result;
  result.onnx_path = prepared.onnx;
  result.warnings = prepared.warnings;
  result.head = detector.kind().head;
  result.provider = detector.session().provider();
  result.fallback_reason = detector.session().fallback_reason();
  result.image_height = detector.image_height();
  result.image_width = detector.image_width();
  result.detections_path = out / "detections.json";
  const Clock::time_point start = Clock::now();
  detect(detector, dataset, ids, result.detections_path, progress);
  result.inference_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  // From the file, so that the figures are its figures for every other tool too.
  result.coco = eval::evaluate_coco(dataset, ids, eval::read_detections(result.detections_path),
                                    {.threads = options.threads, .keep_matches = true});
  if (options.bootstrap_resamples > 0) {
    result.intervals =
        eval::bootstrap(result.coco.matches, {.resamples = options.bootstrap_resamples,
                                              .seed = options.bootstrap_seed,
                                              .threads = options.threads});
  }
  if (!options.skip_latency) {
    const Tensor input = detector.input_of(image_paths(dataset, {ids[0]})[0]);
    result.latency = runtime::measure_latency(detector.session(), options.warmup_runs,
                                              options.latency_runs, {input});
  }
  write_metrics_files(result, options, dataset, ids, out);
  return result;
}

}  // namespace yoloquant::pipeline
