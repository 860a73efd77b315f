#include "train/lsq.h"

#include <ATen/ops/clamp.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/round.h>
#include <ATen/ops/square.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "train/lsq_kernels.h"

namespace yoloquant::train {

namespace {

at::Tensor whole(const at::Tensor& like, int value) {
  return at::full({1}, value, like.options().requires_grad(false));
}

Grid grid_of(const at::Tensor& step, const at::Tensor& zero_point, CodeRange range) {
  Grid grid{step, whole(step, range.low), whole(step, range.high)};
  if (zero_point.defined()) {
    const at::Tensor zero = at::round(zero_point.detach());
    grid.low.sub_(zero);
    grid.high.sub_(zero);
  }
  return grid;
}

// Laid out as x, for passes over the memory of both.
at::Tensor laid_out_as(const at::Tensor& x, const at::Tensor& gradient) {
  if (gradient.strides() == x.strides() && gradient.scalar_type() == x.scalar_type()) {
    return gradient;
  }
  return at::empty_like(x).copy_(gradient);
}

using MaybeTensor = std::optional<at::Tensor>;  // autograd functions take no undefined ones

MaybeTensor maybe(const at::Tensor& tensor) {
  return tensor.defined() ? MaybeTensor(tensor) : std::nullopt;
}

// Inputs: x float32 dense, log step [rows], sign [rows], least step of the gradient's scale [rows],
// zero point [1].
class LearnedStep : public torch::autograd::Function<LearnedStep> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& log_step, const MaybeTensor& sign,
                            const MaybeTensor& least, const MaybeTensor& zero_point, int64_t low,
                            int64_t high, int64_t values, const MaybeTensor& count) {
    at::Tensor step = at::exp(log_step);
    if (sign) step.mul_(*sign);
    const CodeRange range{static_cast<int>(low), static_cast<int>(high)};
    const Grid grid = grid_of(step, zero_point.value_or(at::Tensor()), range);
    at::Tensor unit = step.abs();
    if (least) unit = at::maximum(unit, *least);
    context->save_for_backward({x, grid.step, grid.low, grid.high, unit});
    if (count) context->saved_data["count"] = *count;
    context->saved_data["learns_zero"] = zero_point && zero_point->requires_grad();
    // LSQ's Qp is the largest code above zero; with a zero point, all codes span the range.
    context->saved_data["scale"] =
        1 / std::sqrt(static_cast<double>(values) * static_cast<double>(high));
    return quantize_rows(x, grid);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradient) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& step = saved[1];
    const GridGradients g =
        quantize_rows_backward(x, laid_out_as(x, gradient[0]), {step, saved[2], saved[3]});
    if (context->saved_data.count("count") > 0) {
      const ClipCount count = context->saved_data["count"].toTensor();
      count[0].add_(g.clipped[0]);
      count[1].add_(x.numel());
    }
    const double scale = context->saved_data["scale"].toDouble();
    torch::autograd::variable_list result(9);
    result[0] = g.x;
    // d/d|s| has the sign of s, and so has s: one product serves both.
    result[1] = at::mul(g.step, step).div_(at::square(saved[4])).mul_(scale);
    // q = s (code - z) outside: dq/dz = -s. A change of z by 1 is to the range what a change of s
    // by itself is: over s^2, too.
    if (context->saved_data["learns_zero"].toBool()) {
      result[4] = at::div(g.outside, step).mul_(-scale);
    }
    return result;
  }
};

}  // namespace

at::Tensor by_channel(const at::Tensor& values, int64_t rank) {
  std::vector<int64_t> shape(static_cast<size_t>(rank), 1);
  shape[0] = values.numel();
  return values.view(shape);
}

at::Tensor quantize_weight(const at::Tensor& weight, const at::Tensor& log_step,
                           const at::Tensor& sign, CodeRange range) {
  const at::Tensor dense = weight.to(at::kFloat).contiguous();
  const int64_t values = dense.numel() / log_step.numel();
  // An eighth of what LSQ starts from.
  const at::Tensor least =
      dense.detach().view({log_step.numel(), values}).abs().mean(1).div_(4 * std::sqrt(range.high));
  return LearnedStep::apply(dense, log_step, maybe(sign), least, std::nullopt, range.low,
                            range.high, values, std::nullopt)
      .to(weight.scalar_type());
}

at::Tensor quantize_activation(const at::Tensor& x, const at::Tensor& log_step,
                               const at::Tensor& zero_point, CodeRange range,
                               const ClipCount& count) {
  at::Tensor dense = x.to(at::kFloat);
  if (!dense.is_non_overlapping_and_dense()) dense = dense.contiguous();
  const int64_t values = dense.numel() / std::max<int64_t>(dense.size(0), 1);
  return LearnedStep::apply(dense, log_step, std::nullopt, std::nullopt, maybe(zero_point),
                            range.low, range.high, values, maybe(count))
      .to(x.scalar_type());
}

at::Tensor weight_codes(const at::Tensor& weight, const at::Tensor& signed_step, CodeRange range) {
  const at::Tensor v = at::div(weight.detach(), by_channel(signed_step, weight.dim()));
  return at::clamp(v, range.low, range.high).round_();
}

}  // namespace yoloquant::train
