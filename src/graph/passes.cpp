#include "graph/passes.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "base/error.h"

namespace yoloquant::graph {

namespace {

// Applies `replace` to every use of a value, as node input and graph output.
void redirect(Graph& graph, ValueId from, ValueId to) {
  for (Node& node : graph.nodes) std::ranges::replace(node.inputs, from, to);
  std::ranges::replace(graph.outputs, from, to);
}

void erase_nodes(Graph& graph, const std::set<size_t>& indices) {
  std::vector<Node> kept;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!indices.contains(i)) kept.push_back(std::move(graph.nodes[i]));
  }
  graph.nodes = std::move(kept);
}

// Parameters belong to the node whose name they start with, up to the last dot.
std::string owner_of(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('.'));
}

// Drops values nobody mentions and renumbers the rest.
void compact_values(Graph& graph) {
  std::vector<bool> used(graph.values.size(), false);
  const auto mark = [&](const std::vector<ValueId>& ids) {
    for (const ValueId id : ids) used[id] = true;
  };
  mark(graph.inputs);
  mark(graph.outputs);
  for (const Node& node : graph.nodes) {
    mark(node.inputs);
    mark(node.outputs);
  }
  std::vector<ValueId> renumbered(graph.values.size(), -1);
  std::vector<Value> kept;
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) continue;
    renumbered[i] = static_cast<ValueId>(kept.size());
    kept.push_back(std::move(graph.values[i]));
  }
  graph.values = std::move(kept);
  const auto renumber = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) id = renumbered[id];
  };
  renumber(graph.inputs);
  renumber(graph.outputs);
  for (Node& node : graph.nodes) {
    renumber(node.inputs);
    renumber(node.outputs);
  }
}

// Scales a conv's output channel o by factor[o] and sets its bias.
void scale_conv(Graph& graph, Node& node, const std::vector<double>& factor,
                const std::vector<double>& bias) {
  Tensor& weight = graph.parameters.at(node.name + ".weight");
  const auto values = weight.mutable_data<float>();
  const size_t per_channel = values.size() / factor.size();
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(values[i] * factor[i / per_channel]);
  }
  const std::vector<float> rounded(bias.begin(), bias.end());
  graph.parameters[node.name + ".bias"] =
      Tensor::from<float>({static_cast<int64_t>(rounded.size())}, rounded);
  std::get<Conv>(node.op).has_bias = true;
}

void fold_one(Graph& graph, Node& conv, const Node& norm) {
  const auto values = [&](const char* part) {
    return graph.parameter(norm.name + part).data<float>();
  };
  const auto gamma = values(".weight");
  const auto beta = values(".bias");
  const auto mean = values(".running_mean");
  const auto variance = values(".running_var");
  const float eps = std::get<BatchNorm>(norm.op).eps;
  std::vector<double> factor(gamma.size());
  std::vector<double> bias(gamma.size());
  const bool has_bias = std::get<Conv>(conv.op).has_bias;
  for (size_t i = 0; i < gamma.size(); ++i) {
    factor[i] = gamma[i] / std::sqrt(static_cast<double>(variance[i]) + eps);
    const double own = has_bias ? graph.parameter(conv.name + ".bias").data<float>()[i] : 0.0;
    bias[i] = (own - mean[i]) * factor[i] + beta[i];
  }
  scale_conv(graph, conv, factor, bias);
}

bool is_depthwise(const Graph& graph, const Node& node) {
  const auto* conv = std::get_if<Conv>(&node.op);
  return conv != nullptr && conv->has_bias &&
         graph.parameter(node.name + ".weight").dim(0) == conv->groups &&
         graph.parameter(node.name + ".weight").dim(1) == 1;
}

// True when both are centred depthwise convs that give the same extent for the same input, so that
// the smaller kernel can be padded into the larger.
bool can_merge(const Graph& graph, const Node& large, const Node& small) {
  if (!is_depthwise(graph, large) || !is_depthwise(graph, small)) return false;
  const auto& a = std::get<Conv>(large.op);
  const auto& b = std::get<Conv>(small.op);
  if (a.stride != b.stride || a.groups != b.groups || large.inputs != small.inputs) return false;
  if (a.dilation != std::array<int64_t, 2>{1, 1} || b.dilation != a.dilation) return false;
  const Shape& large_shape = graph.parameter(large.name + ".weight").shape();
  const Shape& small_shape = graph.parameter(small.name + ".weight").shape();
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t border = large_shape[2 + axis] - small_shape[2 + axis];
    if (border < 0 || border % 2 != 0) return false;
    if (a.padding[axis] - b.padding[axis] != border / 2) return false;
    if (a.padding[axis + 2] - b.padding[axis + 2] != border / 2) return false;
  }
  return true;
}

void merge_into(Graph& graph, const Node& large, const Node& small) {
  Tensor& weight = graph.parameters.at(large.name + ".weight");
  const Tensor& other = graph.parameter(small.name + ".weight");
  const Shape big = weight.shape();
  const int64_t top = (big[2] - other.dim(2)) / 2;
  const int64_t left = (big[3] - other.dim(3)) / 2;
  const auto out = weight.mutable_data<float>();
  const auto in = other.data<float>();
  size_t next = 0;
  for (int64_t channel = 0; channel < big[0]; ++channel) {
    for (int64_t y = 0; y < other.dim(2); ++y) {
      for (int64_t x = 0; x < other.dim(3); ++x) {
        out[(channel * big[2] + y + top) * big[3] + x + left] += in[next++];
      }
    }
  }
  const auto bias = graph.parameters.at(large.name + ".bias").mutable_data<float>();
  const auto extra = graph.parameter(small.name + ".bias").data<float>();
  for (size_t i = 0; i < bias.size(); ++i) bias[i] += extra[i];
}

}  // namespace

Head parse_head(std::string_view name) {
  for (const Head head : {Head::kBoth, Head::kOneToMany, Head::kOneToOne, Head::kEndToEnd}) {
    if (head_name(head) == name) return head;
  }
  fail_usage("unknown head '{}': use one2many, one2one or end2end", name);
}

std::string_view head_name(Head head) {
  switch (head) {
    case Head::kBoth:
      return "both";
    case Head::kOneToMany:
      return "one2many";
    case Head::kOneToOne:
      return "one2one";
    case Head::kEndToEnd:
      return "end2end";
  }
  return "?";
}

Graph remove_dead_code(const Graph& source) {
  Graph graph = source;
  const std::vector<bool> alive = graph.nodes_behind(graph.outputs);
  std::set<size_t> dead;
  for (size_t i = 0; i < alive.size(); ++i) {
    if (!alive[i]) dead.insert(i);
  }
  erase_nodes(graph, dead);
  std::set<std::string> names;
  for (const Node& node : graph.nodes) names.insert(node.name);
  std::erase_if(graph.parameters,
                [&](const auto& p) { return !names.contains(owner_of(p.first)); });
  std::erase_if(graph.quantization, [&](const auto& q) { return !names.contains(q.first); });
  compact_values(graph);
  std::set<std::string> values;
  for (const Value& value : graph.values) values.insert(value.name);
  std::erase_if(graph.value_quantization, [&](const auto& q) { return !values.contains(q.first); });
  return graph;
}

Graph keep_head(const Graph& source, Head head, int64_t max_detections) {
  if (head == Head::kBoth) return source;
  Graph graph = source;
  const std::string_view wanted =
      head == Head::kOneToMany ? head_name(head) : head_name(Head::kOneToOne);
  std::optional<ValueId> kept;
  for (const ValueId output : graph.outputs) {
    if (graph.values[output].name == wanted) kept = output;
  }
  // An imported model has one head of unknown kind: it serves as whichever is asked for.
  if (!kept && graph.outputs.size() == 1) kept = graph.outputs[0];
  if (!kept) fail("the model has no {} head", wanted);
  if (head == Head::kEndToEnd) {
    // Of a graph with one head only, whose output has the name that the selection's will have.
    if (graph.values[*kept].name == "output0") graph.values[*kept].name = "raw0";
    kept = graph.add_node("select", SelectDetections{max_detections}, {*kept});
  }
  graph.outputs = {*kept};
  graph = remove_dead_code(graph);
  graph.values[graph.outputs[0]].name = "output0";
  graph.metadata.head = head_name(head);
  if (!graph.values[graph.inputs[0]].shape.empty()) infer_shapes(graph);
  return graph;
}

Graph fold_batch_norm(const Graph& source) {
  Graph graph = source;
  const std::vector<int> producer = graph.producers();
  const std::vector<std::vector<int>> consumers = graph.consumers();
  std::set<size_t> folded;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& norm = graph.nodes[i];
    if (!std::holds_alternative<BatchNorm>(norm.op)) continue;
    const ValueId input = norm.inputs[0];
    if (producer[input] < 0 || consumers[input].size() != 1) continue;
    Node& conv = graph.nodes[producer[input]];
    if (!std::holds_alternative<Conv>(conv.op)) continue;
    if (std::ranges::find(graph.outputs, input) != graph.outputs.end()) continue;
    fold_one(graph, conv, norm);
    std::erase_if(graph.parameters, [&](const auto& p) { return owner_of(p.first) == norm.name; });
    redirect(graph, norm.outputs[0], input);
    folded.insert(i);
  }
  erase_nodes(graph, folded);
  compact_values(graph);
  return graph;
}

Graph merge_parallel_convs(const Graph& source) {
  Graph graph = source;
  const std::vector<int> producer = graph.producers();
  const std::vector<std::vector<int>> consumers = graph.consumers();
  std::set<size_t> merged;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const auto* add = std::get_if<Elementwise>(&graph.nodes[i].op);
    if (add == nullptr || add->kind != ElementwiseKind::kAdd) continue;
    int a = producer[graph.nodes[i].inputs[0]];
    int b = producer[graph.nodes[i].inputs[1]];
    if (a < 0 || b < 0 || a == b) continue;
    if (consumers[graph.nodes[a].outputs[0]].size() != 1) continue;
    if (consumers[graph.nodes[b].outputs[0]].size() != 1) continue;
    if (!can_merge(graph, graph.nodes[a], graph.nodes[b])) std::swap(a, b);
    if (!can_merge(graph, graph.nodes[a], graph.nodes[b])) continue;
    merge_into(graph, graph.nodes[a], graph.nodes[b]);
    redirect(graph, graph.nodes[i].outputs[0], graph.nodes[a].outputs[0]);
    merged.insert(i);
    merged.insert(static_cast<size_t>(b));
  }
  erase_nodes(graph, merged);
  return remove_dead_code(graph);
}

Graph for_inference(const Graph& graph, Head head, Branches branches) {
  Graph result = remove_dead_code(fold_batch_norm(keep_head(graph, head)));
  if (branches == Branches::kMerge) result = merge_parallel_convs(result);
  check(result);
  return result;
}

}  // namespace yoloquant::graph
