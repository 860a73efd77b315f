#include "train/quantized_layer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/div.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ne.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/round.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "exec/convert.h"
#include "quant/weight_scale.h"

namespace yoloquant::train {

namespace {

// Scales below are those of channels whose weights are all zero.
constexpr double kSmallestScale = 1e-30;

at::Tensor find(const NamedTensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? at::Tensor() : found->second;
}

std::optional<LayerNorm> norm_behind(const TrainableGraph& model, const std::string& conv) {
  const graph::Graph& graph = model.graph();
  const graph::Node* node = graph.find_node(conv);
  if (node == nullptr) return std::nullopt;
  const auto readers = graph.consumers()[node->outputs[0]];
  if (readers.size() != 1) return std::nullopt;
  const graph::Node& reader = graph.nodes[static_cast<size_t>(readers[0])];
  const auto* norm = std::get_if<graph::BatchNorm>(&reader.op);
  if (norm == nullptr) return std::nullopt;
  const NamedTensors& p = model.parameters();
  const NamedTensors& b = model.buffers();
  return LayerNorm{p.at(reader.name + ".weight"), p.at(reader.name + ".bias"),
                   b.at(reader.name + ".running_mean"), b.at(reader.name + ".running_var"),
                   norm->eps};
}

at::Tensor floats(const std::vector<float>& values, const at::Tensor& like) {
  return exec::view_of(Tensor::from<float>({static_cast<int64_t>(values.size())}, values))
      .to(like.device(), /*non_blocking=*/false, /*copy=*/true);
}

// |factor|, 1 where it is 0.
at::Tensor magnitude(const at::Tensor& factor) {
  const at::Tensor size = at::abs(factor);
  return at::where(size.gt(kSmallestScale), size, at::ones_like(size));
}

InputQuantizer make_input(const graph::Quantizer& form, const at::Tensor& like) {
  InputQuantizer input;
  input.form = form;
  const auto options = like.options().requires_grad(false);
  input.log_step = at::zeros({1}, options).requires_grad_(true);
  input.zero_point = at::zeros({1}, options);
  input.start = at::zeros({1}, options);
  input.count = at::zeros({2}, options.dtype(at::kDouble));
  if (!form.scale.empty()) input.set(form);
  return input;
}

}  // namespace

at::Tensor LayerNorm::factor() const {
  const at::NoGradGuard guard;
  return at::mul(weight.to(at::kDouble), at::rsqrt(variance.to(at::kDouble).add_(eps)));
}

void InputQuantizer::set(const graph::Quantizer& quantizer) {
  form = quantizer;
  log_step.detach().fill_(std::log(quantizer.scale.at(0)));
  start.copy_(log_step.detach());
  zero_point.detach().fill_(quantizer.zero_point.at(0));
  ready = true;
}

graph::Quantizer InputQuantizer::exported(const std::string& conv) const {
  if (!ready) fail("{}: the range of its input is not known yet", conv);
  graph::Quantizer quantizer = form;
  const auto scale = at::exp(log_step.detach()).item<float>();
  if (!(scale > 0) || !std::isfinite(scale)) fail("{}: the step of its input is {}", conv, scale);
  quantizer.scale = {scale};
  quantizer.zero_point = {static_cast<int32_t>(
      at::clamp(at::round(zero_point.detach()), form.qmin, form.qmax).item<float>())};
  return quantizer;
}

at::Tensor QuantizedLayer::sign() const {
  if (!norm) return {};
  const at::Tensor gamma = norm->weight.detach();
  return gamma.lt(0).to(at::kFloat).mul_(-2).add_(1);
}

at::Tensor QuantizedLayer::signed_step() const {
  const at::Tensor step = at::exp(log_step.detach());
  return norm ? at::mul(step, sign()) : step;
}

at::Tensor QuantizedLayer::quantized(const at::Tensor& weight_in_use) const {
  at::Tensor result = quantize_weight(weight_in_use, log_step, sign(), range);
  if (!correction.defined()) return result;
  return at::mul(result, by_channel(at::exp(correction), weight.dim()).to(result.scalar_type()));
}

void QuantizedLayer::set_bits(int wanted) {
  bits.fill_(wanted);
  range.high = (1 << (wanted - 1)) - 1;
  range.low = -range.high - (narrow ? 0 : 1);
}

void QuantizedLayer::set_steps(const at::Tensor& steps) {
  const at::NoGradGuard guard;
  log_step.detach().copy_(at::log(steps));
  start.copy_(log_step.detach());
}

void QuantizedLayer::search_steps() {
  const quant::WeightScaleOptions options{.bits = bits.item().toInt(), .narrow_range = narrow};
  const graph::Quantizer quantizer = with_context(conv, [&] {
    return quant::choose_weight_quantizer(exec::to_host(weight.detach()), options);
  });
  set_steps(floats(quantizer.scale, log_step));
}

QuantizedLayer make_layer(const TrainableGraph& model, const std::string& conv,
                          const graph::ConvQuantization& annotation) {
  const graph::Quantizer& form = *annotation.weight;
  if (std::ranges::any_of(form.zero_point, [](int32_t zero) { return zero != 0; })) {
    fail("{}: weights with a zero point cannot be trained", conv);
  }
  QuantizedLayer layer;
  layer.conv = conv;
  layer.weight = model.parameters().at(conv + ".weight");
  layer.bias = find(model.parameters(), conv + ".bias");
  layer.norm = norm_behind(model, conv);
  layer.target_bits = form.bits;
  layer.narrow = form.qmin == -form.qmax;
  const auto options = layer.weight.options().requires_grad(false);
  layer.bits = at::zeros({1}, options.dtype(at::kLong));
  layer.set_bits(form.bits);
  if (layer.range.low != form.qmin || layer.range.high != form.qmax) {
    fail("{}: weights with codes [{}, {}] cannot be trained", conv, form.qmin, form.qmax);
  }

  const int64_t channels = layer.weight.size(0);
  layer.log_step = at::zeros({channels}, options).requires_grad_(true);
  layer.start = at::zeros({channels}, options);
  at::Tensor steps = floats(form.scale, layer.weight).to(at::kDouble).expand({channels});
  if (layer.norm) steps = at::div(steps, magnitude(layer.norm->factor()));
  layer.set_steps(steps.clamp_min(kSmallestScale));
  if (annotation.input) layer.input = make_input(*annotation.input, layer.weight);
  return layer;
}

void adopt(const QuantizedLayer& layer, const graph::Graph& annotated) {
  const at::NoGradGuard guard;
  const Tensor& folded = annotated.parameter(layer.conv + ".weight");
  const graph::Quantizer& quantizer = *annotated.quantization.at(layer.conv).weight;
  const at::Tensor wanted =
      exec::view_of(graph::quantize(folded, quantizer)).to(layer.weight.device(), at::kFloat);
  at::Tensor differs = at::ne(wanted, layer.codes());
  if (layer.norm) {
    differs.logical_and_(by_channel(layer.norm->factor().ne(0), layer.weight.dim()));
  }
  const at::Tensor moved = at::mul(wanted, by_channel(layer.signed_step(), layer.weight.dim()));
  layer.weight.detach().copy_(at::where(differs, moved, layer.weight));

  const auto found = annotated.parameters.find(layer.conv + ".bias");
  if (found == annotated.parameters.end()) return;
  at::Tensor bias = exec::view_of(found->second).to(layer.weight.device(), at::kDouble);
  if (!layer.norm) {
    if (layer.bias.defined()) layer.bias.detach().copy_(bias);
    return;
  }
  // Folding makes b' = (b - mean) f + beta.
  at::Tensor from_mean = layer.norm->mean.to(at::kDouble).neg();
  if (layer.bias.defined()) from_mean.add_(layer.bias);
  layer.norm->bias.detach().copy_(bias.sub(at::mul(from_mean, layer.norm->factor())));
}

void export_layer(const QuantizedLayer& layer, graph::Graph& annotated) {
  const at::NoGradGuard guard;
  at::Tensor scale = at::exp(layer.log_step.detach());
  if (layer.correction.defined()) scale = at::mul(scale, at::exp(layer.correction.detach()));
  scale = scale.to(at::kDouble);
  if (layer.norm) scale.mul_(at::abs(layer.norm->factor()));
  scale = scale.to(at::kFloat);
  if (!scale.isfinite().all().item<bool>())
    fail("{}: a step of its weight is not finite", layer.conv);

  // Those of the folded weight too: code * (sign s) * factor = code * (s |factor|).
  at::Tensor codes = layer.codes();
  const at::Tensor empty = scale.lt(kSmallestScale);
  scale = at::where(empty, at::ones_like(scale), scale);
  codes = at::where(by_channel(empty, codes.dim()), at::zeros({}, codes.options()), codes);
  annotated.parameters[layer.conv + ".weight"] =
      exec::to_host(at::mul(codes, by_channel(scale, codes.dim())));

  graph::Quantizer quantizer;
  quantizer.bits = layer.bits.item().toInt();
  quantizer.qmin = layer.range.low;
  quantizer.qmax = layer.range.high;
  quantizer.axis = 0;
  const Tensor host = exec::to_host(scale);
  quantizer.scale.assign(host.data<float>().begin(), host.data<float>().end());
  quantizer.zero_point.assign(quantizer.scale.size(), 0);
  graph::ConvQuantization& annotation = annotated.quantization[layer.conv];
  annotation.weight = quantizer;
  annotation.input.reset();
  if (layer.input) annotation.input = layer.input->exported(layer.conv);
}

}  // namespace yoloquant::train
