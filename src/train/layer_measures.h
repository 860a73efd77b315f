#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "train/layer_statistics.h"
#include "train/quantized_layer.h"

// Internal to the layer: what LayerStatistics is filled from.
namespace yoloquant::train {

// Gradients of a layer's parameters; undefined: none.
struct LayerGradients {
  at::Tensor weight;
  at::Tensor step;
  at::Tensor input_step;
};

// Sums of the norms of gradients over steps, kept on the device.
class GradientNorms {
 public:
  GradientNorms() = default;
  GradientNorms(size_t layers, const at::Tensor& like);

  void add(const std::vector<LayerGradients>& gradients);
  void clear();
  // Means over the steps.
  void write(std::vector<LayerStatistics>& statistics) const;

 private:
  at::Tensor sums_;  // [layers, 3] float32
  int64_t steps_ = 0;
};

// All but the gradients.
LayerStatistics measure(const QuantizedLayer& layer);

}  // namespace yoloquant::train
