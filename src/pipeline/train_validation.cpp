#include "pipeline/train_validation.h"

#include <algorithm>
#include <cmath>

#include "data/prepared_images.h"
#include "data/train_sample.h"
#include "eval/coco_evaluator.h"
#include "eval/decode.h"
#include "eval/precision_recall.h"

namespace yoloquant::pipeline {
namespace {

constexpr float kShownScore = 0.25F;
constexpr size_t kTiles = 16;

// Images on their way into one evaluation.
struct Batch {
  std::vector<float> images;
  std::vector<data::BatchLabel> labels;
  std::vector<data::Letterbox> letterboxes;
  std::vector<size_t> indices;  // of the validation images

  void clear() {
    images.clear();
    labels.clear();
    letterboxes.clear();
    indices.clear();
  }
};

// Labels of an image in its letterboxed form.
void add_labels(const data::LabeledImage& image, const data::Letterbox& letterbox, int64_t place,
                std::vector<data::BatchLabel>& labels) {
  const double width = letterbox.image_width;
  const double height = letterbox.image_height;
  for (const data::YoloLabel& label : image.labels) {
    const data::Box box = letterbox.to_input(
        {(label.x - label.width / 2) * width, (label.y - label.height / 2) * height,
         (label.x + label.width / 2) * width, (label.y + label.height / 2) * height});
    const double size = letterbox.input_width;
    labels.push_back({.image = place,
                      .class_id = label.class_id,
                      .x = static_cast<float>((box.x1 + box.x2) / 2 / size),
                      .y = static_cast<float>((box.y1 + box.y2) / 2 / size),
                      .width = static_cast<float>(box.width() / size),
                      .height = static_cast<float>(box.height() / size)});
  }
}

data::Tile tile_of(std::span<const float> input, int size,
                   std::span<const eval::Detection> detections,
                   const std::vector<std::string>& names) {
  std::vector<uint8_t> planes(input.size());
  std::ranges::transform(input, planes.begin(), [](float value) {
    return static_cast<uint8_t>(std::lround(value * 255));
  });
  data::Tile tile{.image = data::from_planes(planes, size, size), .boxes = {}};
  for (const eval::Detection& d : detections) {
    if (d.score < kShownScore) continue;
    tile.boxes.push_back(
        {.box = {d.x1, d.y1, d.x2, d.y2},
         .class_id = d.class_id,
         .label = fmt::format("{} {:.2f}", names.at(static_cast<size_t>(d.class_id)), d.score)});
  }
  return tile;
}

class Validator {
 public:
  Validator(train::Trainer& trainer, const TrainData& data, const ValidationOptions& options)
      : trainer_(trainer), data_(data), options_(options) {}

  void add(const data::PreparedImage& image) {
    add_labels(data_.val.images[image.index], image.letterbox,
               static_cast<int64_t>(batch_.indices.size()), batch_.labels);
    batch_.images.insert(batch_.images.end(), image.input.begin(), image.input.end());
    batch_.letterboxes.push_back(image.letterbox);
    batch_.indices.push_back(image.index);
    if (static_cast<int64_t>(batch_.indices.size()) == options_.batch) evaluate();
  }

  Validation finish() {
    if (!batch_.indices.empty()) evaluate();
    for (double& loss : result_.losses) loss /= static_cast<double>(batches_);
    const eval::CocoResult coco =
        eval::evaluate_coco(data_.truth, data_.val_ids, detections_,
                            {.threads = options_.threads, .keep_matches = true});
    // Without any ground truth COCO's figures are -1.
    result_.map50 = std::max(coco.figures.ap50, 0.0);
    result_.map = std::max(coco.figures.ap, 0.0);
    const eval::OperatingPoint point = eval::best_operating_point(coco.matches);
    result_.precision = point.precision;
    result_.recall = point.recall;
    return std::move(result_);
  }

 private:
  void evaluate() {
    const auto count = static_cast<int64_t>(batch_.indices.size());
    const train::Evaluation evaluation = trainer_.evaluate({.images = batch_.images,
                                                            .count = count,
                                                            .size = options_.image_size,
                                                            .labels = batch_.labels});
    for (size_t i = 0; i < result_.losses.size(); ++i) result_.losses[i] += evaluation.losses[i];
    const auto raw = evaluation.detections.data<float>();
    const size_t raw_size = raw.size() / batch_.indices.size();
    const size_t image_size = batch_.images.size() / batch_.indices.size();
    for (size_t i = 0; i < batch_.indices.size(); ++i) {
      const std::span<const float> output = raw.subspan(i * raw_size, raw_size);
      const auto classes = static_cast<int64_t>(data_.names.size());
      const std::vector<eval::Detection> found = options_.head == train::EvaluatedHead::kOneToMany
                                                     ? eval::decode_one2many(output, classes)
                                                     : eval::decode_one2one(output, classes);
      eval::append_coco_detections(found, batch_.letterboxes[i], data_.val_ids[batch_.indices[i]],
                                   data_.truth.categories(), &detections_);
      if (result_.tiles.size() >= kTiles) continue;
      result_.tiles.push_back(
          tile_of(std::span<const float>(batch_.images).subspan(i * image_size, image_size),
                  static_cast<int>(options_.image_size), found, data_.names));
    }
    ++batches_;
    batch_.clear();
  }

  train::Trainer& trainer_;
  const TrainData& data_;
  const ValidationOptions& options_;
  Batch batch_;
  std::vector<eval::CocoDetection> detections_;
  int64_t batches_ = 0;
  Validation result_;
};

}  // namespace

Validation validate(train::Trainer& trainer, const TrainData& data,
                    const ValidationOptions& options, Progress& progress) {
  data::ImageList list;
  for (const data::LabeledImage& image : data.val.images) list.push_back(image.image);
  data::LoaderOptions loader;
  loader.input_width = loader.input_height = static_cast<int>(options.image_size);
  loader.threads = options.threads;
  loader.look_ahead = static_cast<int>(options.batch);
  data::PreparedImages images(list, loader);
  Validator validator(trainer, data, options);
  progress.start("validating", static_cast<int64_t>(list.size()));
  data::PreparedImage image;
  for (int64_t done = 1; images.next(image); ++done) {
    validator.add(image);
    progress.update(done);
  }
  progress.finish();
  return validator.finish();
}

}  // namespace yoloquant::pipeline
