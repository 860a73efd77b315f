#include "quant/student.h"

#include <ATen/ops/clamp.h>
#include <ATen/ops/div.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/round.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/Device.h>

#include <algorithm>

#include "base/error.h"
#include "exec/convert.h"
#include "exec/executor.h"
#include "quant/straight_through.h"

namespace yoloquant::quant {

namespace {

at::Tensor channels_last(const at::Tensor& x) {
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

}  // namespace

Student::Student(const graph::Graph& graph, const Options& options)
    : graph_(graph), options_(options), fixed_(graph.nodes.size()) {
  options_.bfloat16 = options.bfloat16 && exec::is_fast_in_bfloat16(options.device);
  const c10::Device device(options.device);
  const c10::ScalarType type =
      options_.bfloat16 ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const graph::Node& node = graph_.nodes[i];
    const auto load = [&](const char* part) {
      const auto found = graph_.parameters.find(node.name + part);
      if (found == graph_.parameters.end()) return at::Tensor();
      return channels_last(exec::view_of(found->second)
                               .to(device, /*non_blocking=*/false,
                                   /*copy=*/true));
    };
    const auto annotation = graph_.quantization.find(node.name);
    if (options.trainable && annotation != graph_.quantization.end() && annotation->second.weight) {
      const graph::Quantizer& q = *annotation->second.weight;
      Trainable t;
      const at::Tensor weight = load(".weight");
      std::vector<int64_t> shape(4, 1);
      if (q.per_channel()) shape[0] = weight.size(0);
      t.start = exec::view_of(Tensor::from<float>(shape, q.scale)).to(device, false, true);
      t.latent = channels_last(at::div(weight, t.start).clamp_(q.qmin - 0.49, q.qmax + 0.49));
      t.latent.requires_grad_(true);
      t.log_step = at::zeros_like(t.start).requires_grad_(true);
      t.bias = load(".bias");
      if (t.bias.defined()) t.bias.requires_grad_(true);
      t.qmin = q.qmin;
      t.qmax = q.qmax;
      // The DFL projection, the one conv with a single output, is exact already.
      if (weight.size(0) > 1) {
        trainable_.emplace(i, std::move(t));
        continue;
      }
    }
    const auto half = [&](const char* part) {
      const at::Tensor value = load(part);
      return value.defined() && value.is_floating_point() ? value.to(type) : value;
    };
    fixed_[i] = {half(".weight"), half(".bias"), half(".running_mean"), half(".running_var"),
                 half(".value")};
  }
}

std::vector<at::Tensor> Student::collect(at::Tensor Trainable::* member) const {
  std::vector<at::Tensor> tensors;
  for (const auto& [node, t] : trainable_) {
    if ((t.*member).defined()) tensors.push_back(t.*member);
  }
  return tensors;
}

std::map<std::string, at::Tensor> Student::named() const {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [node, t] : trainable_) {
    const std::string& name = graph_.nodes[node].name;
    tensors[name + ".latent"] = t.latent;
    tensors[name + ".log_step"] = t.log_step;
    if (t.bias.defined()) tensors[name + ".bias"] = t.bias;
  }
  return tensors;
}

std::map<std::string, at::Tensor> Student::state() const {
  std::map<std::string, at::Tensor> tensors = named();
  for (const auto& [node, t] : trainable_) tensors[graph_.nodes[node].name + ".start"] = t.start;
  return tensors;
}

at::Tensor Student::weight_of(const Trainable& t) const {
  const at::Tensor codes =
      straight_through_round(at::clamp(t.latent, t.qmin - 0.49, t.qmax + 0.49));
  return at::mul(codes, at::mul(at::exp(t.log_step), t.start));
}

exec::NodeParameters Student::parameters_of(size_t node) const {
  const auto found = trainable_.find(node);
  if (found == trainable_.end()) return fixed_[node];
  exec::NodeParameters parameters;
  const c10::ScalarType type =
      options_.bfloat16 ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
  parameters.weight = weight_of(found->second).to(type);
  if (found->second.bias.defined()) parameters.bias = found->second.bias.to(type);
  return parameters;
}

const graph::Quantizer* Student::input_quantizer_of(const graph::Node& node) const {
  const auto found = graph_.quantization.find(node.name);
  if (!options_.trainable || found == graph_.quantization.end()) return nullptr;
  const auto& input = found->second.input;
  return input && input->bits < options_.float_input_bits ? &*input : nullptr;
}

std::vector<at::Tensor> Student::forward(const at::Tensor& images,
                                         const std::vector<graph::ValueId>& wanted,
                                         const OnValue& on_value) const {
  const std::vector<int> producers = graph_.producers();
  size_t end = 0;
  for (const graph::ValueId value : wanted) {
    end = std::max(end, static_cast<size_t>(producers[value] + 1));
  }
  const c10::ScalarType type =
      options_.bfloat16 ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
  std::vector<at::Tensor> values(graph_.values.size());
  const auto set = [&](graph::ValueId id, const at::Tensor& value) {
    values[id] = value;
    if (on_value) on_value(id, value);
  };
  set(graph_.inputs.at(0), images.to(c10::Device(options_.device), type));
  for (size_t i = 0; i < end; ++i) {
    const graph::Node& node = graph_.nodes[i];
    std::vector<at::Tensor> inputs;
    for (const graph::ValueId input : node.inputs) inputs.push_back(values[input]);
    if (const graph::Quantizer* quantizer = input_quantizer_of(node)) {
      inputs[0] = straight_through_quantize(inputs[0], *quantizer).to(type);
    }
    const std::vector<at::Tensor> outputs = exec::apply(node, parameters_of(i), inputs);
    for (size_t k = 0; k < outputs.size(); ++k) set(node.outputs[k], outputs[k]);
  }
  std::vector<at::Tensor> results;
  for (const graph::ValueId value : wanted) results.push_back(values[value]);
  return results;
}

void Student::clamp_latents() {
  for (auto& [node, t] : trainable_) t.latent.detach().clamp_(t.qmin - 0.49, t.qmax + 0.49);
}

void Student::store(graph::Graph& graph) const {
  for (const auto& [node, t] : trainable_) {
    const std::string& name = graph_.nodes[node].name;
    const at::Tensor step = at::mul(at::exp(t.log_step.detach()), t.start);
    const at::Tensor codes = at::clamp(at::round(t.latent.detach()), t.qmin, t.qmax);
    graph.parameters[name + ".weight"] = exec::to_host(at::mul(codes, step));
    const Tensor scale = exec::to_host(step);
    graph.quantization.at(name).weight->scale.assign(scale.data<float>().begin(),
                                                     scale.data<float>().end());
    if (t.bias.defined()) graph.parameters[name + ".bias"] = exec::to_host(t.bias.detach());
  }
}

}  // namespace yoloquant::quant
