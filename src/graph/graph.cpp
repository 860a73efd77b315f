#include "graph/graph.h"

#include <set>

#include "base/error.h"

namespace yoloquant::graph {

ValueId Graph::add_value(std::string name) {
  values.push_back({.name = std::move(name), .dtype = DType::kFloat32, .shape = {}});
  return static_cast<ValueId>(values.size() - 1);
}

ValueId Graph::add_node(std::string name, Operator op, std::vector<ValueId> node_inputs) {
  const ValueId output = add_value(name);
  nodes.push_back({std::move(name), std::move(op), std::move(node_inputs), {output}});
  return output;
}

std::vector<ValueId> Graph::add_node(std::string name, Operator op,
                                     std::vector<ValueId> node_inputs, size_t output_count) {
  std::vector<ValueId> made;
  for (size_t i = 0; i < output_count; ++i)
    made.push_back(add_value(fmt::format("{}:{}", name, i)));
  nodes.push_back({std::move(name), std::move(op), std::move(node_inputs), made});
  return made;
}

const Node* Graph::find_node(std::string_view name) const {
  for (const Node& node : nodes) {
    if (node.name == name) return &node;
  }
  return nullptr;
}

const Tensor& Graph::parameter(const std::string& name) const {
  const auto found = parameters.find(name);
  if (found == parameters.end()) fail("the model has no parameter {}", name);
  return found->second;
}

std::vector<int> Graph::producers() const {
  std::vector<int> result(values.size(), -1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const ValueId value : nodes[i].outputs) result[value] = static_cast<int>(i);
  }
  return result;
}

std::vector<std::vector<int>> Graph::consumers() const {
  std::vector<std::vector<int>> result(values.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const ValueId value : nodes[i].inputs) result[value].push_back(static_cast<int>(i));
  }
  return result;
}

std::vector<bool> Graph::nodes_behind(const std::vector<ValueId>& wanted) const {
  std::vector<bool> value(values.size(), false);
  for (const ValueId id : wanted) value[id] = true;
  std::vector<bool> behind(nodes.size(), false);
  for (size_t i = nodes.size(); i-- > 0;) {
    for (const ValueId output : nodes[i].outputs) behind[i] = behind[i] || value[output];
    if (!behind[i]) continue;
    for (const ValueId input : nodes[i].inputs) value[input] = true;
  }
  return behind;
}

std::vector<std::string> conv_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) {
    if (std::holds_alternative<Conv>(node.op)) names.push_back(node.name);
  }
  return names;
}

namespace {

void check_values(const Graph& graph, const Node& node, const std::vector<ValueId>& ids) {
  for (const ValueId id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= graph.values.size()) {
      fail("node {} refers to a value that does not exist", node.name);
    }
  }
}

void check_arity(const Node& node) {
  const auto expect = [&](size_t least, size_t most) {
    if (node.inputs.size() < least || node.inputs.size() > most) {
      fail("node {} ({}) has {} inputs", node.name, operator_name(node.op), node.inputs.size());
    }
  };
  std::visit(
      Overloaded{[&](const Elementwise&) { expect(2, 2); }, [&](const MatMul&) { expect(2, 2); },
                 [&](const Gather&) { expect(2, 2); },
                 [&](const Opaque& op) { expect(op.input_shapes.size(), op.input_shapes.size()); },
                 [&](const Reshape&) { expect(1, 2); }, [&](const Constant&) { expect(0, 0); },
                 [&](const Concat&) { expect(1, 4096); },
                 [&](const AnchorGrid& op) { expect(op.strides.size(), op.strides.size()); },
                 [&](const auto&) { expect(1, 1); }},
      node.op);
  size_t outputs = 1;
  if (const auto* op = std::get_if<Split>(&node.op)) outputs = op->sizes.size();
  if (std::holds_alternative<AnchorGrid>(node.op)) outputs = 2;
  if (std::holds_alternative<TopK>(node.op)) outputs = 2;
  if (const auto* op = std::get_if<Opaque>(&node.op)) outputs = op->outputs.size();
  if (node.outputs.size() != outputs) {
    fail("node {} ({}) has {} outputs", node.name, operator_name(node.op), node.outputs.size());
  }
}

void check_parameters(const Graph& graph, const Node& node) {
  const auto need = [&](const char* part, size_t rank) {
    const Tensor& tensor = graph.parameter(node.name + part);
    if (tensor.rank() != rank || tensor.dtype() != DType::kFloat32) {
      fail("parameter {}{} has shape {} and type {}", node.name, part, shape_string(tensor.shape()),
           dtype_name(tensor.dtype()));
    }
    return tensor.dim(0);
  };
  if (const auto* conv = std::get_if<Conv>(&node.op)) {
    const int64_t outputs = need(".weight", 4);
    if (conv->groups <= 0 || outputs % conv->groups != 0) {
      fail("node {}: {} output channels do not split into {} groups", node.name, outputs,
           conv->groups);
    }
    if (conv->has_bias && need(".bias", 1) != outputs) fail("{}.bias: wrong size", node.name);
  } else if (std::holds_alternative<BatchNorm>(node.op)) {
    const int64_t channels = need(".weight", 1);
    for (const char* part : {".bias", ".running_mean", ".running_var"}) {
      if (need(part, 1) != channels) fail("{}{}: wrong size", node.name, part);
    }
  } else if (std::holds_alternative<Constant>(node.op)) {
    graph.parameter(node.name + ".value");
  }
}

}  // namespace

void check(const Graph& graph) {
  std::set<std::string_view> value_names;
  for (const Value& value : graph.values) {
    if (!value_names.insert(value.name).second) fail("two values are named {}", value.name);
  }
  std::vector<bool> ready(graph.values.size(), false);
  for (const ValueId input : graph.inputs) ready.at(input) = true;
  std::set<std::string_view> node_names;
  for (const Node& node : graph.nodes) {
    if (!node_names.insert(node.name).second) fail("two nodes are named {}", node.name);
    check_values(graph, node, node.inputs);
    check_values(graph, node, node.outputs);
    check_arity(node);
    check_parameters(graph, node);
    for (const ValueId input : node.inputs) {
      if (!ready[input]) {
        fail("node {} reads {} before it is made", node.name, graph.values[input].name);
      }
    }
    for (const ValueId output : node.outputs) {
      if (ready[output]) fail("value {} is made twice", graph.values[output].name);
      ready[output] = true;
    }
  }
  for (const ValueId output : graph.outputs) {
    if (!ready.at(output)) fail("output {} is never made", graph.values[output].name);
  }
  for (const auto& [name, annotation] : graph.quantization) {
    const Node* node = graph.find_node(name);
    if (node == nullptr || !std::holds_alternative<Conv>(node->op)) {
      fail("quantization annotates {}, which is no conv", name);
    }
    if (annotation.weight) {
      with_context(name,
                   [&] { check(*annotation.weight, graph.parameter(name + ".weight").shape()); });
    }
  }
  for (const auto& [name, quantizer] : graph.value_quantization) {
    if (!value_names.contains(name)) fail("quantization annotates {}, which is no value", name);
    if (quantizer.per_channel()) fail("{}: values are quantized per tensor", name);
    with_context(name, [&] { check(quantizer, Shape{}); });
    for (const ValueId output : graph.outputs) {
      if (graph.values[output].name == name) fail("output {} is quantized", name);
    }
  }
}

}  // namespace yoloquant::graph
