#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "exec/convert.h"
#include "graph/graph.h"
#include "model/model.h"
#include "quant/tiny_detector.h"

// Small tensors and a small model for the tests of this layer.
namespace yoloquant::train {

inline at::Tensor floats(const Shape& shape, const std::vector<float>& values) {
  return exec::view_of(Tensor::from<float>(shape, values)).clone();
}

inline at::Tensor integers(const std::vector<int64_t>& values) {
  return exec::view_of(Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values))
      .clone();
}

// Reproducible values in [low, high) by name.
inline at::Tensor uniform(const std::string& name, const Shape& shape, double low, double high) {
  return exec::view_of(model::formula_tensor(name, shape)).mul(high - low).add(low);
}

inline std::vector<float> values_of(const at::Tensor& tensor) {
  const Tensor host = exec::to_host(tensor.detach());
  return {host.data<float>().begin(), host.data<float>().end()};
}

// Both heads, 3 classes, levels of stride 2 and 4, for images of 64 pixels.
inline graph::Graph tiny_training_graph() {
  graph::Graph graph = model::build(model::parse_definition(quant::kTinyDetector, "tiny"), 64, 64);
  model::set_formula_parameters(graph);
  return graph;
}

}  // namespace yoloquant::train
