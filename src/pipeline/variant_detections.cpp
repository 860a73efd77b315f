#include "pipeline/variant_detections.h"

#include "base/error.h"
#include "data/letterbox.h"
#include "eval/decode.h"
#include "eval/fidelity.h"

namespace yoloquant::pipeline {

VariantDetections::VariantDetections(graph::Head head, int64_t class_count, size_t variants)
    : head_(head), class_count_(class_count), detections_(variants + 1) {
  for (int64_t i = 0; i < class_count; ++i) class_names_.push_back(fmt::format("class{}", i));
}

void VariantDetections::add(int64_t image, int64_t variant, const Tensor& output) {
  Detections& own = detections_.at(static_cast<size_t>(variant + 1));
  own.resize(static_cast<size_t>(image) + 1);
  const Tensor values = output.to_float32();
  own.back() = head_ == graph::Head::kOneToOne
                   ? eval::decode_one2one(values.data<float>(), class_count_)
                   : eval::decode_one2many(values.data<float>(), class_count_);
}

std::optional<double> VariantDetections::fidelity(size_t variant) const {
  const auto result = eval::measure_fidelity(of(-1), of(static_cast<int64_t>(variant)),
                                             class_names_, {.resamples = 0});
  if (result.figures.reference_boxes == 0) return std::nullopt;
  return result.figures.fidelity;
}

double VariantDetections::map(int64_t variant, const data::CocoDataset& dataset,
                              const std::vector<int64_t>& ids, int input_width,
                              int input_height) const {
  std::vector<eval::CocoDetection> found;
  for (size_t i = 0; i < ids.size(); ++i) {
    const data::CocoImage& image =
        dataset.images()[static_cast<size_t>(dataset.image_index(ids[i]))];
    const auto letterbox =
        data::Letterbox::fit(image.width, image.height, input_width, input_height);
    eval::append_coco_detections(of(variant).at(i), letterbox, ids[i], dataset.categories(),
                                 &found);
  }
  return eval::evaluate_coco(dataset, ids, found).figures.ap;
}

}  // namespace yoloquant::pipeline
