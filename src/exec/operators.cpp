#include "exec/operators.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/div.h>
#include <ATen/ops/full.h>
#include <ATen/ops/hardsigmoid.h>
#include <ATen/ops/hardswish.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mkldnn_convolution.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/round.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/split_with_sizes.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <limits>

#include "base/error.h"
#include "exec/convert.h"
#include "exec/index_operators.h"

namespace yoloquant::exec {

namespace {

using Tensors = std::vector<at::Tensor>;

bool symmetric(const std::array<int64_t, 4>& padding) {
  return padding[0] == padding[2] && padding[1] == padding[3];
}

// LibTorch pads both sides alike; other paddings become a pad of their own.
at::Tensor padded(const at::Tensor& x, const std::array<int64_t, 4>& padding, double value) {
  return at::constant_pad_nd(x, {padding[1], padding[3], padding[0], padding[2]}, value);
}

at::Tensor convolve(const graph::Conv& op, const NodeParameters& p, const at::Tensor& x) {
  // On one CPU thread at::conv2d prefers im2col and a matrix product for small kernels, which takes
  // about twice as long for 1x1 kernels as oneDNN does. Autocast knows conv2d alone.
  if (symmetric(op.padding) && x.is_cpu() && x.scalar_type() == at::kFloat && at::hasMKLDNN() &&
      !at::autocast::is_autocast_enabled(at::kCPU)) {
    return at::mkldnn_convolution(x, p.weight, p.bias, at::IntArrayRef(op.padding.data(), 2),
                                  op.stride, op.dilation, op.groups);
  }
  if (symmetric(op.padding)) {
    return at::conv2d(x, p.weight, p.bias, op.stride, at::IntArrayRef(op.padding.data(), 2),
                      op.dilation, op.groups);
  }
  return at::conv2d(padded(x, op.padding, 0), p.weight, p.bias, op.stride, at::IntArrayRef({0, 0}),
                    op.dilation, op.groups);
}

at::Tensor activate(const graph::Activation& op, const at::Tensor& x) {
  switch (op.kind) {
    case graph::ActivationKind::kSilu:
      return at::silu(x);
    case graph::ActivationKind::kSigmoid:
      return at::sigmoid(x);
    case graph::ActivationKind::kRelu:
      return at::relu(x);
    case graph::ActivationKind::kLeakyRelu:
      return at::leaky_relu(x, op.alpha);
    case graph::ActivationKind::kHardSwish:
      return at::hardswish(x);
    case graph::ActivationKind::kHardSigmoid:
      return at::hardsigmoid(x);
  }
  fail("unknown activation");
}

at::Tensor combine(const graph::Elementwise& op, const at::Tensor& a, const at::Tensor& b) {
  switch (op.kind) {
    case graph::ElementwiseKind::kAdd:
      return at::add(a, b);
    case graph::ElementwiseKind::kSub:
      return at::sub(a, b);
    case graph::ElementwiseKind::kMul:
      return at::mul(a, b);
    case graph::ElementwiseKind::kDiv:
      return a.is_floating_point() ? at::div(a, b) : at::div(a, b, "trunc");
    case graph::ElementwiseKind::kPow:
      return at::pow(a, b);
    case graph::ElementwiseKind::kMin:
      return at::minimum(a, b);
    case graph::ElementwiseKind::kMax:
      return at::maximum(a, b);
    case graph::ElementwiseKind::kMod:
      return at::remainder(a, b);
  }
  fail("unknown elementwise operator");
}

at::Tensor pool(const graph::MaxPool& op, const at::Tensor& x) {
  if (symmetric(op.padding)) {
    return at::max_pool2d(x, op.kernel, op.stride, {op.padding[0], op.padding[1]});
  }
  const double lowest = -std::numeric_limits<double>::infinity();
  return at::max_pool2d(padded(x, op.padding, lowest), op.kernel, op.stride);
}

at::Tensor reshape(const graph::Reshape& op, const Tensors& inputs) {
  std::vector<int64_t> shape = op.shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == graph::Reshape::kSameAsInput) {
      shape[i] = inputs[0].size(static_cast<int64_t>(i));
    } else if (shape[i] == graph::Reshape::kSameAsReference) {
      shape[i] = inputs.at(1).size(static_cast<int64_t>(i));
    }
  }
  return inputs[0].reshape(shape);
}

Tensors anchor_grid(const graph::AnchorGrid& op, const Tensors& features) {
  Tensors points;
  Tensors strides;
  for (size_t level = 0; level < features.size(); ++level) {
    const auto options = features[level].options();
    const int64_t height = features[level].size(2);
    const int64_t width = features[level].size(3);
    const at::Tensor x = at::add(at::arange(width, options), 0.5).view({1, width});
    const at::Tensor y = at::add(at::arange(height, options), 0.5).view({height, 1});
    points.push_back(at::stack(
        {x.expand({height, width}).reshape({-1}), y.expand({height, width}).reshape({-1})}));
    strides.push_back(at::full({height * width}, static_cast<double>(op.strides[level]), options));
  }
  return {at::cat(points, 1).unsqueeze(0), at::cat(strides, 0).view({1, 1, -1})};
}

at::Tensor select_detections(const graph::SelectDetections& op, const at::Tensor& raw) {
  const at::Tensor rows = raw.transpose(1, 2);  // [N, A, 4 + classes]
  const int64_t classes = rows.size(2) - 4;
  const int64_t kept = std::min(op.max_detections, rows.size(1));
  const at::Tensor best = std::get<0>(rows.slice(2, 4).max(2));
  const at::Tensor points = std::get<1>(at::topk(best, kept, 1));  // [N, K]
  const at::Tensor chosen =
      rows.gather(1, points.unsqueeze(-1).expand({points.size(0), kept, rows.size(2)}));
  const auto [scores, flat] = at::topk(chosen.slice(2, 4).flatten(1), kept, 1);
  const at::Tensor row = at::div(flat, classes, "floor");
  const at::Tensor label = at::sub(flat, at::mul(row, classes));
  const at::Tensor box =
      chosen.slice(2, 0, 4).gather(1, row.unsqueeze(-1).expand({row.size(0), kept, 4}));
  const at::Tensor half = at::mul(box.slice(2, 2, 4), 0.5);
  const at::Tensor centre = box.slice(2, 0, 2);
  return at::cat({at::sub(centre, half), at::add(centre, half), scores.unsqueeze(-1),
                  label.to(raw.scalar_type()).unsqueeze(-1)},
                 2);
}

struct Apply {
  const NodeParameters& p;
  const Tensors& in;

  Tensors operator()(const graph::Conv& op) const { return {convolve(op, p, in[0])}; }
  Tensors operator()(const graph::BatchNorm& op) const {
    return {at::batch_norm(in[0], p.weight, p.bias, p.running_mean, p.running_var,
                           /*training=*/false, op.momentum, op.eps, /*cudnn_enabled=*/true)};
  }
  Tensors operator()(const graph::Activation& op) const { return {activate(op, in[0])}; }
  Tensors operator()(const graph::Elementwise& op) const { return {combine(op, in[0], in[1])}; }
  Tensors operator()(const graph::MaxPool& op) const { return {pool(op, in[0])}; }
  Tensors operator()(const graph::Upsample& op) const {
    return {at::upsample_nearest2d(in[0], {in[0].size(2) * op.factor, in[0].size(3) * op.factor})};
  }
  Tensors operator()(const graph::Concat& op) const { return {at::cat(in, op.axis)}; }
  Tensors operator()(const graph::Split& op) const {
    return at::split_with_sizes(in[0], op.sizes, op.axis);
  }
  Tensors operator()(const graph::Reshape& op) const { return {reshape(op, in)}; }
  Tensors operator()(const graph::Transpose& op) const { return {in[0].permute(op.permutation)}; }
  Tensors operator()(const graph::MatMul&) const { return {at::matmul(in[0], in[1])}; }
  Tensors operator()(const graph::Softmax& op) const { return {at::softmax(in[0], op.axis)}; }
  Tensors operator()(const graph::Constant&) const { return {p.value}; }
  Tensors operator()(const graph::Slice& op) const { return {slice(op, in[0])}; }
  Tensors operator()(const graph::Gather& op) const { return {gather(op, in[0], in[1])}; }
  Tensors operator()(const graph::Reduce& op) const { return {reduce(op, in[0])}; }
  Tensors operator()(const graph::TopK& op) const {
    const auto [values, indices] = at::topk(in[0], op.count, op.axis);
    return {values, indices};
  }
  Tensors operator()(const graph::Expand& op) const { return {expand(op, in[0])}; }
  Tensors operator()(const graph::Tile& op) const { return {in[0].repeat(op.repeats)}; }
  Tensors operator()(const graph::Cast& op) const {
    // A float keeps the type that the executor computes in.
    const bool stays = is_floating_point(op.dtype) && in[0].is_floating_point();
    return {stays ? in[0]
                  : in[0].to(is_floating_point(op.dtype) ? p.precision : scalar_type(op.dtype))};
  }
  Tensors operator()(const graph::Opaque& op) const { return run_opaque(op, in, p.precision); }
  Tensors operator()(const graph::AnchorGrid& op) const { return anchor_grid(op, in); }
  Tensors operator()(const graph::SelectDetections& op) const {
    return {select_detections(op, in[0])};
  }
};

}  // namespace

std::vector<at::Tensor> apply(const graph::Node& node, const NodeParameters& parameters,
                              const std::vector<at::Tensor>& inputs) {
  return std::visit(Apply{parameters, inputs}, node.op);
}

at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                         int64_t qmin, int64_t qmax) {
  const at::Tensor code = at::clamp(at::add(at::round(at::div(x, scale)), zero_point), qmin, qmax);
  return at::mul(at::sub(code, zero_point), scale);
}

at::Tensor fake_quantize(const at::Tensor& x, float scale, int64_t zero_point, int64_t qmin,
                         int64_t qmax) {
  // Clamping before the zero point is added gives the same codes and saves two passes.
  at::Tensor code = at::div(x, scale);
  return code.round_().clamp_(qmin - zero_point, qmax - zero_point).mul_(scale);
}

}  // namespace yoloquant::exec
