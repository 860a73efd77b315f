#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/coco_dataset.h"
#include "eval/detection.h"
#include "graph/passes.h"
#include "tensor/tensor.h"

// Internal to the layer: what the variants of a model detect.
namespace yoloquant::pipeline {

// Detections of a raw head's output [1, 4 + classes, A], kept by variant and image.
class VariantDetections {
 public:
  // `head`: one2many or one2one.
  VariantDetections(graph::Head head, int64_t class_count, size_t variants);

  // A quant::OnOutput: variant -1 is the float model.
  void add(int64_t image, int64_t variant, const Tensor& output);

  // Fidelity (mAP50-95) of a variant to the float model; none when that sees nothing.
  std::optional<double> fidelity(size_t variant) const;
  // mAP50-95 on labelled images, in the order in which they were run; -1: the float model.
  double map(int64_t variant, const data::CocoDataset& dataset, const std::vector<int64_t>& ids,
             int input_width, int input_height) const;

 private:
  using Detections = std::vector<std::vector<eval::Detection>>;  // by image

  const Detections& of(int64_t variant) const {
    return detections_.at(static_cast<size_t>(variant + 1));
  }

  graph::Head head_;
  int64_t class_count_;
  std::vector<std::string> class_names_;
  std::vector<Detections> detections_;  // the float model's first
};

}  // namespace yoloquant::pipeline
