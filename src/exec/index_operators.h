#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "graph/operators.h"

// Internal to the layer: operators that pick, repeat and reduce elements, and foreign ones.
namespace yoloquant::exec {

at::Tensor slice(const graph::Slice& op, const at::Tensor& x);
at::Tensor gather(const graph::Gather& op, const at::Tensor& x, const at::Tensor& indices);
at::Tensor reduce(const graph::Reduce& op, const at::Tensor& x);
at::Tensor expand(const graph::Expand& op, const at::Tensor& x);
// In host memory and float32; results come back to the inputs' device, floats as `precision`.
std::vector<at::Tensor> run_opaque(const graph::Opaque& op, const std::vector<at::Tensor>& inputs,
                                   c10::ScalarType precision);

}  // namespace yoloquant::exec
