#include "train/trainable_graph.h"

#include <ATen/ops/silu.h>
#include <c10/core/Device.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "exec/convert.h"

namespace yoloquant::train {

namespace {

graph::DetectionLogits find_head(const graph::Graph& graph, const std::string& name) {
  for (const graph::ValueId output : graph.outputs) {
    if (graph.values[output].name != name) continue;
    if (const auto head = graph::detection_logits(graph, output)) return *head;
  }
  fail_usage(
      "training needs a model with both YOLOv10 heads, and this one has no head \"{}\": start from "
      "a definition or a .pt checkpoint",
      name);
}

std::vector<graph::ValueId> find_anchors(const graph::Graph& graph) {
  for (const graph::Node& node : graph.nodes) {
    if (std::holds_alternative<graph::AnchorGrid>(node.op)) return node.outputs;
  }
  fail_usage("training needs a model whose detection head makes its own anchor points");
}

bool is_silu(const graph::Node& node) {
  const auto* activation = std::get_if<graph::Activation>(&node.op);
  return activation != nullptr && activation->kind == graph::ActivationKind::kSilu;
}

}  // namespace

TrainableGraph::TrainableGraph(const graph::Graph& graph, const std::string& device)
    : graph_(graph),
      one2many_(find_head(graph, "one2many")),
      one2one_(find_head(graph, "one2one")),
      anchors_(find_anchors(graph)) {
  plan();
  load_parameters(device);
}

void TrainableGraph::plan() {
  const std::vector<graph::ValueId> shared = {one2many_.boxes, one2many_.classes};
  std::vector<graph::ValueId> wanted = shared;
  wanted.insert(wanted.end(), {one2one_.boxes, one2one_.classes});
  wanted.insert(wanted.end(), anchors_.begin(), anchors_.end());
  const std::vector<bool> needed = graph_.nodes_behind(wanted);
  const std::vector<bool> trained_by_one2many = graph_.nodes_behind(shared);
  const std::vector<int> producers = graph_.producers();
  const std::vector<std::vector<int>> consumers = graph_.consumers();

  std::map<int, int> step_of;  // node -> step
  // Of the batch norm that only this node reads, or none.
  const auto norm_before = [&](const graph::Node& node) -> Step* {
    const graph::ValueId input = node.inputs.at(0);
    const auto found = step_of.find(producers[input]);
    if (found == step_of.end() || consumers[input].size() != 1 ||
        std::find(wanted.begin(), wanted.end(), input) != wanted.end()) {
      return nullptr;
    }
    Step& step = steps_[static_cast<size_t>(found->second)];
    return step.is_norm ? &step : nullptr;
  };
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (!needed[i]) continue;
    const graph::Node& node = graph_.nodes[i];
    if (is_silu(node)) {
      if (Step* norm = norm_before(node)) {
        norm->end = i;
        continue;
      }
    }
    Step step;
    step.node = i;
    step.end = i;
    step.is_norm = std::holds_alternative<graph::BatchNorm>(node.op);
    for (const graph::ValueId input : node.inputs) {
      const int producer = producers[input];
      step.detach.push_back(!trained_by_one2many[i] && producer >= 0 &&
                            trained_by_one2many[static_cast<size_t>(producer)]);
    }
    const auto position = static_cast<int>(steps_.size());
    step_of[static_cast<int>(i)] = position;
    if (step.is_norm) {
      const auto conv = step_of.find(producers[node.inputs[0]]);
      if (conv != step_of.end() && consumers[node.inputs[0]].size() == 1) {
        steps_[static_cast<size_t>(conv->second)].norm = position;
      }
    }
    steps_.push_back(std::move(step));
  }

  std::vector<bool> kept(graph_.values.size(), false);
  for (const graph::ValueId value : wanted) kept[value] = true;
  for (size_t s = steps_.size(); s-- > 0;) {
    for (const graph::ValueId input : graph_.nodes[steps_[s].node].inputs) {
      if (!kept[input]) steps_[s].release.push_back(input);
      kept[input] = true;
    }
  }
}

void TrainableGraph::load_parameters(const std::string& device) {
  const auto copy = [&](const std::string& name) {
    const auto found = graph_.parameters.find(name);
    if (found == graph_.parameters.end()) return at::Tensor();
    return exec::view_of(found->second).to(c10::Device(device), false, /*copy=*/true);
  };
  const auto trained = [&](const std::string& name) {
    at::Tensor value = copy(name);
    if (value.defined()) parameters_[name] = value.requires_grad_(true);
    return value;
  };
  const auto buffer = [&](const std::string& name) {
    at::Tensor value = copy(name);
    if (value.defined()) buffers_[name] = value;
    return value;
  };
  for (Step& step : steps_) {
    const std::string& name = graph_.nodes[step.node].name;
    step.parameters = {.weight = trained(name + ".weight"),
                       .bias = trained(name + ".bias"),
                       .running_mean = buffer(name + ".running_mean"),
                       .running_var = buffer(name + ".running_var"),
                       .value = copy(name + ".value")};
    step.batches = buffer(name + ".num_batches_tracked");
  }
}

at::Tensor TrainableGraph::run_norm(const Step& step, const at::Tensor& input,
                                    NormMode mode) const {
  const auto& norm = std::get<graph::BatchNorm>(graph_.nodes[step.node].op);
  const exec::NodeParameters& p = step.parameters;
  if (mode == NormMode::kTraining && step.batches.defined()) step.batches.detach().add_(1);
  if (mode == NormMode::kTraining && norm_hook_) {
    const at::Tensor y = norm_hook_(input, norm, p);
    return step.has_silu() ? at::silu(y) : y;
  }
  return batch_norm(input, norm, p, mode,
                    step.has_silu() ? NormActivation::kSilu : NormActivation::kNone);
}

std::vector<at::Tensor> TrainableGraph::run(const Step& step, std::vector<at::Tensor> inputs,
                                            NormMode mode) const {
  const graph::Node& node = graph_.nodes[step.node];
  if (step.is_norm) return {run_norm(step, inputs[0], mode)};
  if (std::holds_alternative<graph::AnchorGrid>(node.op)) {
    // Only their sizes matter, but half precision could not hold the points of a large image.
    for (at::Tensor& input : inputs) input = input.detach().to(at::kFloat);
  }
  if (!hook_ || !std::holds_alternative<graph::Conv>(node.op)) {
    return exec::apply(node, step.parameters, inputs);
  }
  ConvSite site{.name = node.name};
  if (step.norm >= 0) {
    const Step& norm = steps_[static_cast<size_t>(step.norm)];
    site.norm = &std::get<graph::BatchNorm>(graph_.nodes[norm.node].op);
    site.norm_parameters = &norm.parameters;
  }
  exec::NodeParameters parameters = step.parameters;
  ConvArguments arguments =
      hook_(site, {.input = std::move(inputs[0]), .weight = parameters.weight});
  parameters.weight = std::move(arguments.weight);
  return exec::apply(node, parameters, {std::move(arguments.input)});
}

Logits TrainableGraph::forward(const at::Tensor& images, NormMode mode) {
  std::vector<at::Tensor> values(graph_.values.size());
  values[graph_.inputs.at(0)] = images.contiguous(images.is_cpu() ? at::MemoryFormat::ChannelsLast
                                                                  : at::MemoryFormat::Contiguous);
  for (const Step& step : steps_) {
    const graph::Node& node = graph_.nodes[step.node];
    std::vector<at::Tensor> inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const at::Tensor& value = values[node.inputs[i]];
      inputs.push_back(step.detach[i] ? value.detach() : value);
    }
    for (const graph::ValueId value : step.release) values[value] = at::Tensor();
    std::vector<at::Tensor> outputs = run(step, std::move(inputs), mode);
    const std::vector<graph::ValueId>& ids = graph_.nodes[step.end].outputs;
    for (size_t k = 0; k < outputs.size(); ++k) values[ids[k]] = std::move(outputs[k]);
  }
  return {.one2many = {values[one2many_.boxes], values[one2many_.classes]},
          .one2one = {values[one2one_.boxes], values[one2one_.classes]},
          .anchors = {values[anchors_[0]].squeeze(0), values[anchors_[1]].flatten()}};
}

std::vector<at::Tensor> TrainableGraph::parameters_in_order() const {
  std::vector<at::Tensor> all;
  for (const Step& step : steps_) {
    for (const at::Tensor& parameter : {step.parameters.weight, step.parameters.bias}) {
      if (parameter.defined()) all.push_back(parameter);
    }
  }
  return all;
}

NamedTensors TrainableGraph::state() const {
  NamedTensors all = parameters_;
  all.insert(buffers_.begin(), buffers_.end());
  return all;
}

bool TrainableGraph::is_norm(const std::string& parameter) const {
  const graph::Node* node = graph_.find_node(parameter.substr(0, parameter.rfind('.')));
  return node != nullptr && std::holds_alternative<graph::BatchNorm>(node->op);
}

void TrainableGraph::load(const graph::Graph& graph) {
  exec::copy_into(state(), graph.parameters, "the model");
}

void TrainableGraph::store(graph::Graph& graph) const {
  for (auto& [name, value] : exec::to_host(state())) graph.parameters.at(name) = std::move(value);
}

}  // namespace yoloquant::train
