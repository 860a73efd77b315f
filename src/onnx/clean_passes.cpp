#include "onnx/clean_passes.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "onnx/evaluate.h"
#include "onnx/graph_edit.h"
#include "onnx/model_file.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

namespace {

// What is worth computing ahead: shapes, indices, anchor points. Not weights.
constexpr int64_t kMaxFolded = 1 << 16;

bool is_standard(const pb::NodeProto& node, std::string_view op) {
  return node.op_type() == op && (node.domain().empty() || node.domain() == "ai.onnx");
}

bool is_kept(const pb::NodeProto& node) {
  return is_standard(node, "QuantizeLinear") || is_standard(node, "DequantizeLinear") ||
         is_standard(node, "Clip");
}

// Initializers that may be read and replaced: typed, local, not outputs.
std::map<std::string, Tensor> small_constants(const pb::GraphProto& graph) {
  std::map<std::string, Tensor> result;
  for (const auto& tensor : graph.initializer()) {
    if (!tensor_type(tensor.data_type()) || tensor.data_location() != pb::TensorProto::DEFAULT) {
      continue;
    }
    if (element_count(dims_of(tensor)) <= kMaxFolded) result[tensor.name()] = from_proto(tensor);
  }
  return result;
}

std::optional<Tensor> shape_of(const pb::NodeProto& node, const Declared& declared) {
  if (!is_standard(node, "Shape") || node.input_size() != 1) {
    return std::nullopt;
  }
  const auto shape = declared.shapes.find(node.input(0));
  if (shape == declared.shapes.end()) return std::nullopt;
  return shape_value(node, shape->second);
}

std::map<std::string, const pb::NodeProto*> producers(const pb::GraphProto& graph) {
  std::map<std::string, const pb::NodeProto*> result;
  for (const auto& node : graph.node()) {
    for (const auto& output : node.output()) result[output] = &node;
  }
  return result;
}

std::vector<int64_t> permutation_of(const pb::NodeProto& node) {
  const pb::AttributeProto* found = find_attribute(node, "perm");
  if (found == nullptr) return {};
  return {found->ints().begin(), found->ints().end()};
}

void set_permutation(pb::NodeProto& node, const std::vector<int64_t>& permutation) {
  for (auto& attribute : *node.mutable_attribute()) {
    if (attribute.name() != "perm") continue;
    attribute.mutable_ints()->Assign(permutation.begin(), permutation.end());
  }
}

bool is_permutation(std::vector<int64_t> values) {
  std::ranges::sort(values);
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != static_cast<int64_t>(i)) return false;
  }
  return !values.empty();
}

int cast_target(const pb::NodeProto& node) {
  const pb::AttributeProto* found = find_attribute(node, "to");
  return found == nullptr ? 0 : static_cast<int>(found->i());
}

// Whether every value of type `from` survives in type `to`.
bool is_lossless(int from, int to) {
  using T = pb::TensorProto;
  if (from == to) return true;
  switch (from) {
    case T::FLOAT16:
    case T::BFLOAT16:
      return to == T::FLOAT || to == T::DOUBLE;
    case T::FLOAT:
      return to == T::DOUBLE;
    case T::INT8:
    case T::UINT8:
      return to == T::INT32 || to == T::INT64 || to == T::FLOAT || to == T::DOUBLE;
    case T::INT32:
      return to == T::INT64 || to == T::DOUBLE;
    default:
      return false;
  }
}

bool is_no_op_reshape(const pb::NodeProto& node, const Declared& declared,
                      const std::map<std::string, Tensor>& constants) {
  const auto shape = declared.shapes.find(node.input(0));
  const auto target = constants.find(node.input(1));
  if (shape == declared.shapes.end() || target == constants.end()) return false;
  if (target->second.dtype() != DType::kInt64 || find_attribute(node, "allowzero") != nullptr) {
    return false;
  }
  const auto wanted = target->second.data<int64_t>();
  if (wanted.size() != shape->second.size()) return false;
  int64_t inferred = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == -1) ++inferred;
    if (wanted[i] > 0 && wanted[i] != shape->second[i]) return false;
  }
  return inferred <= 1;
}

bool is_no_op_dropout(const pb::NodeProto& node, const std::map<std::string, Tensor>& constants,
                      const std::set<std::string>& used) {
  if (node.output_size() > 1 && used.contains(node.output(1))) return false;
  if (node.input_size() < 3 || node.input(2).empty()) return true;
  const auto training = constants.find(node.input(2));
  return training != constants.end() && training->second.dtype() == DType::kBool &&
         training->second.size() == 1 && !training->second.data<bool>()[0];
}

struct Knowledge {
  Declared declared;
  std::map<std::string, Tensor> constants;
  std::set<std::string> used;
};

bool is_no_op(const pb::NodeProto& node, const Knowledge& known) {
  if (node.input_size() < 1 || node.output_size() < 1) return false;
  if (is_standard(node, "Identity")) return true;
  if (is_standard(node, "Dropout")) return is_no_op_dropout(node, known.constants, known.used);
  if (is_standard(node, "Cast")) {
    const auto type = known.declared.types.find(node.input(0));
    return type != known.declared.types.end() && type->second == cast_target(node);
  }
  if (is_standard(node, "Transpose")) {
    const std::vector<int64_t> permutation = permutation_of(node);
    return !permutation.empty() && std::ranges::is_sorted(permutation) &&
           is_permutation(permutation);
  }
  if (is_standard(node, "Reshape") && node.input_size() == 2) {
    return is_no_op_reshape(node, known.declared, known.constants);
  }
  return false;
}

Knowledge knowledge_of(const pb::GraphProto& graph) {
  Knowledge known{declared_values(graph), small_constants(graph), output_names(graph)};
  for_each_use(graph, [&](const std::string& name) { known.used.insert(name); });
  // Casts say themselves what type they make.
  for (const auto& node : graph.node()) {
    if (is_standard(node, "Cast") && node.output_size() == 1) {
      known.declared.types[node.output(0)] = cast_target(node);
    }
  }
  return known;
}

// A node that makes a graph output can be bypassed by giving its input's producer the output's
// name; not when the input is itself an input, an initializer or an output.
bool take_over_output(pb::GraphProto& graph, const std::string& input, const std::string& output,
                      Renames& renames) {
  if (output_names(graph).contains(input)) return false;
  for (auto& node : *graph.mutable_node()) {
    for (auto& made : *node.mutable_output()) {
      if (made != input) continue;
      made = output;
      renames[input] = output;
      return true;
    }
  }
  return false;
}

}  // namespace

bool store_constants(pb::GraphProto& graph) {
  std::set<std::string> stored;
  for (const auto& node : graph.node()) {
    if (!is_standard(node, "Constant") || node.output_size() != 1) continue;
    const auto value = constant_value(node);
    if (!value) continue;
    *graph.add_initializer() = to_proto(node.output(0), *value);
    stored.insert(node.output(0));
  }
  erase_nodes(graph, [&](const pb::NodeProto& node) {
    return is_standard(node, "Constant") && node.output_size() == 1 &&
           stored.contains(node.output(0));
  });
  return !stored.empty();
}

bool fold_constants(pb::GraphProto& graph) {
  const Declared declared = declared_values(graph);
  const std::set<std::string> outputs = output_names(graph);
  std::map<std::string, Tensor> constants = small_constants(graph);
  std::set<std::string> folded;
  for (const auto& node : graph.node()) {
    if (node.output_size() != 1 || outputs.contains(node.output(0))) continue;
    std::optional<Tensor> value = shape_of(node, declared);
    if (!value && can_evaluate(node) && node.input_size() > 0) {
      std::vector<const Tensor*> inputs;
      bool all_known = true;
      for (const auto& input : node.input()) {
        const auto found = constants.find(input);
        all_known = all_known && (input.empty() || found != constants.end());
        inputs.push_back(found == constants.end() ? nullptr : &found->second);
      }
      if (all_known) value = evaluate(node, inputs, kMaxFolded);
    }
    if (!value) continue;
    *graph.add_initializer() = to_proto(node.output(0), *value);
    folded.insert(node.output(0));
    constants[node.output(0)] = std::move(*value);
  }
  erase_nodes(graph, [&](const pb::NodeProto& node) {
    return node.output_size() == 1 && folded.contains(node.output(0));
  });
  return !folded.empty();
}

bool merge_chains(pb::GraphProto& graph) {
  const auto producer = producers(graph);
  const Knowledge known = knowledge_of(graph);
  bool changed = false;
  for (auto& node : *graph.mutable_node()) {
    if (node.input_size() < 1) continue;
    const auto found = producer.find(node.input(0));
    if (found == producer.end()) continue;
    const pb::NodeProto& first = *found->second;
    if (first.op_type() != node.op_type() || first.input_size() < 1) continue;
    if (is_standard(node, "Transpose")) {
      const auto inner = permutation_of(first);
      const auto outer = permutation_of(node);
      if (inner.size() != outer.size() || !is_permutation(inner) || !is_permutation(outer))
        continue;
      std::vector<int64_t> composed;
      for (const int64_t axis : outer) composed.push_back(inner[static_cast<size_t>(axis)]);
      set_permutation(node, composed);
    } else if (is_standard(node, "Cast")) {
      const auto type = known.declared.types.find(first.input(0));
      if (type == known.declared.types.end()) continue;
      if (!is_lossless(type->second, cast_target(first))) continue;
    } else if (is_standard(node, "Reshape") && node.input_size() == 2) {
      // A 0 in the target copies from the first Reshape's result.
      const auto target = known.constants.find(node.input(1));
      if (target == known.constants.end() || target->second.dtype() != DType::kInt64) continue;
      if (std::ranges::find(target->second.data<int64_t>(), 0) !=
          target->second.data<int64_t>().end()) {
        continue;
      }
    } else {
      continue;
    }
    node.set_input(0, std::string(first.input(0)));
    changed = true;
  }
  return changed;
}

bool bypass_no_ops(pb::GraphProto& graph) {
  const Knowledge known = knowledge_of(graph);
  const std::set<std::string> outputs = output_names(graph);
  const std::set<std::string> inner = names_in_subgraphs(graph);
  Renames renames;
  std::set<const pb::NodeProto*> bypassed;
  for (const auto& node : graph.node()) {
    if (!is_no_op(node, known)) continue;
    const std::string& input = node.input(0);
    const std::string& output = node.output(0);
    // One at a time where renames could meet: the next round takes the rest.
    if (inner.contains(output) || inner.contains(input) || renames.contains(input)) continue;
    if (outputs.contains(output)) {
      if (!take_over_output(graph, input, output, renames)) continue;
    } else {
      renames[output] = input;
    }
    bypassed.insert(&node);
  }
  if (bypassed.empty()) return false;
  erase_nodes(graph, [&](const pb::NodeProto& node) { return bypassed.contains(&node); });
  rename_uses(graph, renames);
  return true;
}

bool remove_dead(pb::GraphProto& graph) {
  std::set<std::string> needed = output_names(graph);
  auto& nodes = *graph.mutable_node();
  std::vector<bool> alive(static_cast<size_t>(nodes.size()), false);
  for (int i = nodes.size() - 1; i >= 0; --i) {
    const bool wanted = std::ranges::any_of(
        nodes[i].output(), [&](const auto& output) { return needed.contains(output); });
    if (!wanted && !is_kept(nodes[i])) continue;
    alive[static_cast<size_t>(i)] = true;
    for_each_use(nodes[i], [&](const std::string& name) { needed.insert(name); });
  }
  const int before = nodes.size() + graph.initializer_size();
  size_t index = 0;
  erase_nodes(graph, [&](const pb::NodeProto&) { return !alive[index++]; });
  auto& initializers = *graph.mutable_initializer();
  initializers.erase(std::remove_if(initializers.begin(), initializers.end(),
                                    [&](const auto& t) { return !needed.contains(t.name()); }),
                     initializers.end());
  std::set<std::string> made;
  for (const auto& node : nodes) made.insert(node.output().begin(), node.output().end());
  auto& infos = *graph.mutable_value_info();
  infos.erase(std::remove_if(infos.begin(), infos.end(),
                             [&](const auto& info) { return !made.contains(info.name()); }),
              infos.end());
  return nodes.size() + graph.initializer_size() != before;
}

bool share_initializers(pb::GraphProto& graph) {
  const std::set<std::string> inner = names_in_subgraphs(graph);
  const std::set<std::string> outputs = output_names(graph);
  std::map<std::tuple<int, Shape, std::string_view>, std::string> first;
  Renames renames;
  for (const auto& tensor : graph.initializer()) {
    if (!tensor.has_raw_data() || inner.contains(tensor.name()) ||
        outputs.contains(tensor.name())) {
      continue;
    }
    const auto [place, is_new] =
        first.try_emplace({tensor.data_type(), dims_of(tensor), tensor.raw_data()}, tensor.name());
    if (!is_new) renames[tensor.name()] = place->second;
  }
  rename_uses(graph, renames);
  return !renames.empty();
}

void use_raw_data(pb::GraphProto& graph) {
  for (auto& tensor : *graph.mutable_initializer()) {
    if (tensor.has_raw_data()) continue;
    const std::string name = tensor.name();
    if (is_packed(tensor.data_type())) {
      tensor = to_packed_proto(name, from_proto(tensor));
    } else if (tensor_type(tensor.data_type())) {
      tensor = to_proto(name, from_proto(tensor));
    }
  }
}

void drop_initializer_inputs(pb::ModelProto& model) {
  pb::GraphProto& graph = *model.mutable_graph();
  std::set<std::string> stored;
  for (const auto& tensor : graph.initializer()) stored.insert(tensor.name());
  auto& inputs = *graph.mutable_input();
  inputs.erase(std::remove_if(inputs.begin(), inputs.end(),
                              [&](const auto& input) { return stored.contains(input.name()); }),
               inputs.end());
  // Before IR version 4 initializers had to be inputs.
  if (model.ir_version() < 4) model.set_ir_version(4);
}

}  // namespace yoloquant::onnx
