#include "train/oscillation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/div.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ne.h>
#include <ATen/ops/round.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

namespace yoloquant::train {

namespace {

class Dampening : public torch::autograd::Function<Dampening> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& weight,
                            const at::Tensor& signed_step, int64_t low, int64_t high) {
    const at::Tensor step = by_channel(signed_step, weight.dim());
    at::Tensor residual = at::div(weight, step).clamp_(low, high);
    residual.sub_(at::round(residual)).mul_(step);
    context->save_for_backward({residual});
    return at::square(residual).sum();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradient) {
    // Beyond the range the residual is 0, as is the gradient.
    const at::Tensor residual = context->get_saved_variables()[0];
    return {residual.mul(gradient[0]).mul_(2), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

OscillationTracker::OscillationTracker(const at::Tensor& codes, bool with_means)
    : code_(codes.to(at::kChar)),
      direction_(at::zeros_like(code_)),
      frozen_(at::zeros_like(code_, code_.options().dtype(at::kBool))),
      frequency_(at::zeros_like(codes)),
      mean_(with_means ? codes.clone() : at::Tensor()),
      count_(at::zeros({}, codes.options().dtype(at::kDouble))) {}

void OscillationTracker::update(const at::Tensor& codes, double momentum) {
  const at::NoGradGuard guard;
  ++updates_;
  const at::Tensor now = at::where(frozen_, code_.to(at::kFloat), codes);
  const at::Tensor direction = at::sub(now, code_).sign_();
  const at::Tensor oscillates = at::mul(direction, direction_).clamp_(-1, 0).neg_();
  count_.add_(oscillates.sum(at::kDouble));
  frequency_.lerp_(oscillates, momentum);
  if (mean_.defined()) mean_.lerp_(now, momentum);
  direction_.copy_(at::where(at::ne(direction, 0), direction, direction_));
  code_.copy_(now);
}

void OscillationTracker::freeze(double threshold) {
  const at::NoGradGuard guard;
  const at::Tensor fresh = frequency_.gt(threshold).logical_and_(frozen_.logical_not());
  code_.copy_(at::where(fresh, at::round(mean_), code_));
  frozen_.logical_or_(fresh);
}

void OscillationTracker::hold(const at::Tensor& weight, const at::Tensor& signed_step) const {
  const at::NoGradGuard guard;
  const at::Tensor held = at::mul(code_.to(at::kFloat), by_channel(signed_step, weight.dim()));
  weight.detach().copy_(at::where(frozen_, held, weight));
}

void OscillationTracker::clear_count() {
  count_.zero_();
  updates_ = 0;
}

void OscillationTracker::restart(const at::Tensor& codes) {
  code_.copy_(codes);
  for (const at::Tensor* tensor : {&direction_, &frozen_, &frequency_}) tensor->zero_();
  if (mean_.defined()) mean_.copy_(codes);
}

exec::NamedTensors OscillationTracker::state() const {
  exec::NamedTensors state{
      {"code", code_}, {"direction", direction_}, {"frozen", frozen_}, {"frequency", frequency_}};
  if (mean_.defined()) state.emplace("mean_code", mean_);
  return state;
}

at::Tensor dampening_penalty(const at::Tensor& weight, const at::Tensor& signed_step,
                             CodeRange range) {
  return Dampening::apply(weight, signed_step.detach(), range.low, range.high);
}

}  // namespace yoloquant::train
