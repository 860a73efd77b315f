#include "exec/index_operators.h"

#include <ATen/ExpandUtils.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/sum.h>

#include "base/error.h"
#include "exec/convert.h"

namespace yoloquant::exec {

at::Tensor slice(const graph::Slice& op, const at::Tensor& x) {
  at::Tensor result = x;
  for (const auto& range : op.ranges) {
    result = result.slice(range.axis, range.start, range.end, range.step);
  }
  return result;
}

at::Tensor gather(const graph::Gather& op, const at::Tensor& x, const at::Tensor& indices) {
  const int64_t axis = op.axis < 0 ? op.axis + x.dim() : op.axis;
  const int64_t extent = x.size(axis);
  const at::Tensor wide = indices.to(at::kLong);
  if (wide.numel() > 0 &&
      (wide.min().item<int64_t>() < -extent || wide.max().item<int64_t>() >= extent)) {
    fail("an index is beyond the {} elements of axis {}", extent, axis);
  }
  const at::Tensor places = at::remainder(wide, extent);  // -1 is the last one
  if (op.elements) return at::gather(x, axis, places);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.erase(shape.begin() + axis);
  shape.insert(shape.begin() + axis, indices.sizes().begin(), indices.sizes().end());
  return at::index_select(x, axis, places.reshape({-1})).reshape(shape);
}

at::Tensor reduce(const graph::Reduce& op, const at::Tensor& x) {
  if (op.axes.empty()) return x;
  switch (op.kind) {
    case graph::ReduceKind::kMax:
      return at::amax(x, op.axes, op.keep_axes);
    case graph::ReduceKind::kMin:
      return at::amin(x, op.axes, op.keep_axes);
    case graph::ReduceKind::kMean:
      return at::mean(x, op.axes, op.keep_axes);
    case graph::ReduceKind::kSum:
      return at::sum(x, op.axes, op.keep_axes, x.scalar_type());
  }
  fail("unknown reduction");
}

at::Tensor expand(const graph::Expand& op, const at::Tensor& x) {
  return x.expand(at::infer_size(x.sizes(), op.shape));
}

std::vector<at::Tensor> run_opaque(const graph::Opaque& op, const std::vector<at::Tensor>& inputs,
                                   c10::ScalarType precision) {
  if (!op.function) fail("operator {} cannot be run: nothing was given that runs it", op.type);
  std::vector<Tensor> host;
  for (const at::Tensor& input : inputs) {
    host.push_back(to_host(input.is_floating_point() ? input.to(at::kFloat) : input));
  }
  const c10::Device device = inputs.empty() ? c10::Device(c10::kCPU) : inputs[0].device();
  std::vector<at::Tensor> outputs;
  for (const Tensor& output : op.function(host)) {
    const at::Tensor view = view_of(output);
    const auto type = view.is_floating_point() ? precision : view.scalar_type();
    outputs.push_back(view.to(device, type, /*non_blocking=*/false, /*copy=*/true));
  }
  return outputs;
}

}  // namespace yoloquant::exec
