#include "train/layer_measures.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/div.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/zeros.h>

#include <numbers>

#include "exec/convert.h"

namespace yoloquant::train {

namespace {

double share_of(const at::Tensor& condition) {
  return condition.sum(at::kDouble).item<double>() / static_cast<double>(condition.numel());
}

// Mean of |log2(step / start)|.
double drift(const at::Tensor& log_step, const at::Tensor& start) {
  return at::abs(at::sub(log_step.detach(), start)).mean().item<double>() / std::numbers::ln2;
}

}  // namespace

LayerStatistics measure(const QuantizedLayer& layer) {
  const at::NoGradGuard guard;
  LayerStatistics s;
  s.conv = layer.conv;
  s.weights = layer.weight.numel();
  s.weight_bits = layer.bits.item().toInt();
  s.steps = layer.tracker.updates();
  if (s.steps > 0) {
    s.oscillation = layer.tracker.count().item<double>() /
                    (static_cast<double>(s.steps) * static_cast<double>(s.weights));
  }
  s.frozen = share_of(layer.tracker.frozen());

  const at::Tensor codes = layer.codes();
  const int64_t range = layer.range.high - layer.range.low + 1;
  // Weights that are not finite have no code.
  const at::Tensor counted = codes.nan_to_num(0).sub(layer.range.low).to(at::kLong).flatten();
  s.dead_codes = share_of(at::bincount(counted, {}, range).eq(0));
  s.dead_channels = share_of(codes.flatten(1).abs().amax({1}).eq(0));
  const at::Tensor v = at::div(layer.weight, by_channel(layer.signed_step(), layer.weight.dim()));
  s.saturated = share_of(v.lt(layer.range.low).logical_or(v.gt(layer.range.high)));
  const at::Tensor steps = layer.log_step.detach().exp();
  s.step_mean = steps.mean().item<double>();
  s.step_min = steps.min().item<double>();
  s.step_max = steps.max().item<double>();
  s.step_drift = drift(layer.log_step, layer.start);
  if (!layer.input) return s;
  const InputQuantizer& input = *layer.input;
  s.input_bits = input.form.bits;
  const Tensor count = exec::to_host(input.count);
  if (count.data<double>()[1] > 0)
    s.clipped_inputs = count.data<double>()[0] / count.data<double>()[1];
  s.input_step = input.log_step.detach().exp().item<double>();
  s.input_step_drift = drift(input.log_step, input.start);
  return s;
}

GradientNorms::GradientNorms(size_t layers, const at::Tensor& like)
    : sums_(at::zeros({static_cast<int64_t>(layers), 3}, like.options().requires_grad(false))) {}

void GradientNorms::add(const std::vector<LayerGradients>& gradients) {
  const at::NoGradGuard guard;
  std::vector<at::Tensor> all;
  const at::Tensor none = at::zeros({1}, sums_.options());
  for (const LayerGradients& g : gradients) {
    for (const at::Tensor* gradient : {&g.weight, &g.step, &g.input_step}) {
      all.push_back(gradient->defined() ? *gradient : none);
    }
  }
  sums_.add_(at::stack(at::_foreach_norm(all)).view_as(sums_));
  ++steps_;
}

void GradientNorms::clear() {
  sums_.zero_();
  steps_ = 0;
}

void GradientNorms::write(std::vector<LayerStatistics>& statistics) const {
  if (steps_ == 0) return;
  const Tensor host = exec::to_host(at::div(sums_, static_cast<double>(steps_)));
  const auto values = host.data<float>();
  for (size_t i = 0; i < statistics.size(); ++i) {
    statistics[i].weight_gradient = values[3 * i];
    statistics[i].step_gradient = values[3 * i + 1];
    statistics[i].input_step_gradient = values[3 * i + 2];
  }
}

}  // namespace yoloquant::train
