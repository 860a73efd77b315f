#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <vector>

#include "graph/graph.h"

// Internal to the layer: one operator on LibTorch tensors.
namespace yoloquant::exec {

// Parameters of the node as the executor holds them.
struct NodeParameters {
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor running_mean;
  at::Tensor running_var;
  at::Tensor value;                                    // of a Constant
  c10::ScalarType precision = c10::ScalarType::Float;  // of the graph's float values
};

// Applies node.op to its inputs; returns its outputs. Shapes are taken from the inputs.
std::vector<at::Tensor> apply(const graph::Node& node, const NodeParameters& parameters,
                              const std::vector<at::Tensor>& inputs);

// QuantizeLinear then DequantizeLinear, with ONNX Runtime's arithmetic: division by the scale, ties
// to even, saturation. `scale` and `zero_point` broadcast against x.
at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                         int64_t qmin, int64_t qmax);
// The same with one scale, in few passes over x.
at::Tensor fake_quantize(const at::Tensor& x, float scale, int64_t zero_point, int64_t qmin,
                         int64_t qmax);

}  // namespace yoloquant::exec
