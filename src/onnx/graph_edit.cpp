#include "onnx/graph_edit.h"

#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

namespace {

void for_each_subgraph(const pb::NodeProto& node,
                       const std::function<void(const pb::GraphProto&)>& visit) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.has_g()) visit(attribute.g());
    for (const auto& graph : attribute.graphs()) visit(graph);
  }
}

const std::string& final_name(const Renames& renames, const std::string& name) {
  const std::string* current = &name;
  for (size_t steps = 0; steps <= renames.size(); ++steps) {
    const auto found = renames.find(*current);
    if (found == renames.end()) break;
    current = &found->second;
  }
  return *current;
}

void declare(const pb::ValueInfoProto& info, Declared& declared) {
  if (!info.type().has_tensor_type()) return;
  const auto& tensor = info.type().tensor_type();
  declared.types[info.name()] = tensor.elem_type();
  if (!tensor.has_shape()) return;
  Shape shape;
  for (const auto& dim : tensor.shape().dim()) {
    if (!dim.has_dim_value() || dim.dim_value() < 0) return;
    shape.push_back(dim.dim_value());
  }
  declared.shapes[info.name()] = shape;
}

}  // namespace

void for_each_use(const pb::NodeProto& node, const std::function<void(const std::string&)>& visit) {
  for (const auto& input : node.input()) visit(input);
  for_each_subgraph(node, [&](const pb::GraphProto& inner) {
    for_each_use(inner, visit);
    for (const auto& output : inner.output()) visit(output.name());
  });
}

void for_each_use(const pb::GraphProto& graph,
                  const std::function<void(const std::string&)>& visit) {
  for (const auto& node : graph.node()) for_each_use(node, visit);
}

void rename_uses(pb::GraphProto& graph, const Renames& renames) {
  if (renames.empty()) return;
  for (auto& node : *graph.mutable_node()) {
    for (auto& input : *node.mutable_input()) {
      const std::string& name = final_name(renames, input);
      if (&name != &input) input = std::string(name);
    }
  }
}

std::set<std::string> names_in_subgraphs(const pb::GraphProto& graph) {
  std::set<std::string> names;
  for (const auto& node : graph.node()) {
    for_each_subgraph(node, [&](const pb::GraphProto& inner) {
      for_each_use(inner, [&](const std::string& name) { names.insert(name); });
      for (const auto& output : inner.output()) names.insert(output.name());
    });
  }
  return names;
}

std::set<std::string> output_names(const pb::GraphProto& graph) {
  std::set<std::string> names;
  for (const auto& output : graph.output()) names.insert(output.name());
  return names;
}

void erase_nodes(pb::GraphProto& graph, const std::function<bool(const pb::NodeProto&)>& drop) {
  auto& nodes = *graph.mutable_node();
  int kept = 0;
  for (int i = 0; i < nodes.size(); ++i) {
    if (drop(nodes[i])) continue;
    if (kept != i) nodes.SwapElements(kept, i);
    ++kept;
  }
  nodes.DeleteSubrange(kept, nodes.size() - kept);
}

Declared declared_values(const pb::GraphProto& graph) {
  Declared declared;
  for (const auto& info : graph.value_info()) declare(info, declared);
  for (const auto& info : graph.input()) declare(info, declared);
  for (const auto& info : graph.output()) declare(info, declared);
  for (const auto& tensor : graph.initializer()) {
    declared.types[tensor.name()] = tensor.data_type();
    declared.shapes[tensor.name()] = dims_of(tensor);
  }
  return declared;
}

}  // namespace yoloquant::onnx
