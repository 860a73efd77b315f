#include "onnx/importer.h"

#include <algorithm>

#include "base/error.h"
#include "graph/passes.h"
#include "onnx/evaluate.h"
#include "onnx/metadata.h"
#include "onnx/model_file.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

using graph::Graph;
using graph::ValueId;

namespace {

constexpr int64_t kMinReadOpset = 11;
constexpr int64_t kMaxConstant = int64_t{1} << 24;

MetadataProps props_of(const pb::ModelProto& model) {
  MetadataProps props;
  for (const auto& entry : model.metadata_props()) props[entry.key()] = entry.value();
  return props;
}

// [N, 3, H, W] with dynamic extents filled in.
Shape fixed_shape(const pb::ValueInfoProto& info, const Shape& fill) {
  constexpr int64_t kMaxExtent = 1 << 16;
  Shape shape;
  for (const auto& dim : info.type().tensor_type().shape().dim()) {
    const size_t axis = shape.size();
    shape.push_back(dim.has_dim_value() ? dim.dim_value() : axis < fill.size() ? fill[axis] : 0);
  }
  const auto is_odd = [](int64_t extent) { return extent <= 0 || extent > kMaxExtent; };
  if (shape.size() != 4 || std::ranges::any_of(shape, is_odd)) {
    fail("input '{}' has shape {}, not [N, C, H, W]", info.name(), shape_string(shape));
  }
  return shape;
}

bool is_float_type(int type) {
  return type == pb::TensorProto::FLOAT || type == pb::TensorProto::FLOAT16;
}

// A first extent that equals the input's batch is written as such, so that other batches work.
void free_batch(Graph& graph) {
  for (graph::Node& node : graph.nodes) {
    auto* reshape = std::get_if<graph::Reshape>(&node.op);
    if (reshape == nullptr || reshape->shape.empty()) continue;
    const Shape& input = graph.values[node.inputs[0]].shape;
    if (!input.empty() && reshape->shape[0] == input[0]) {
      reshape->shape[0] = graph::Reshape::kSameAsInput;
    }
  }
}

}  // namespace

Importer::Importer(const pb::ModelProto& model, const ReadOptions& options, ReadReport& report)
    : model_(model),
      options_(options),
      report_(report),
      declared_(declared_values(model.graph())),
      opset_(default_opset(model)) {}

Graph Importer::run() {
  if (opset_ < kMinReadOpset) {
    fail("opset {} is too old: export with opset {} or newer", opset_, kMinReadOpset);
  }
  if (model_.graph().sparse_initializer_size() > 0) fail("sparse initializers are not supported");
  for (const auto& tensor : model_.graph().initializer()) {
    constants_[tensor.name()] = from_proto(tensor);
  }
  import_inputs();
  for (const auto& node : model_.graph().node()) {
    node_ = &node;
    const std::string& label =
        node.name().empty() ? node.output_size() > 0 ? node.output(0) : "" : node.name();
    with_context(fmt::format("node '{}' ({})", label, node.op_type()), [&] { import_node(); });
  }
  import_outputs();
  fuse_gates(graph_);
  graph_ = graph::remove_dead_code(graph_);
  for (const graph::Node& node : graph_.nodes) {
    if (const auto* opaque = std::get_if<graph::Opaque>(&node.op)) ++report_.opaque[opaque->type];
  }
  free_batch(graph_);
  graph_.metadata = parse_metadata(props_of(model_));
  graph::check(graph_);
  graph::infer_shapes(graph_);
  return std::move(graph_);
}

void Importer::import_inputs() {
  for (const auto& info : model_.graph().input()) {
    if (constants_.contains(info.name())) continue;
    if (!is_float_type(info.type().tensor_type().elem_type())) {
      fail("input '{}' is not of a float type", info.name());
    }
    const ValueId id = graph_.add_value(unique_value_name(info.name()));
    const Shape exported = exported_shape(props_of(model_));
    for (const auto& dim : info.type().tensor_type().shape().dim()) {
      if (!dim.has_dim_value()) report_.input_was_dynamic = true;
    }
    graph_.values[id].shape = fixed_shape(info, options_.input_shape.value_or(exported));
    graph_.inputs.push_back(id);
    values_[info.name()] = id;
  }
  if (graph_.inputs.size() != 1) fail("the model has {} inputs, not one", graph_.inputs.size());
}

void Importer::import_node() {
  const std::string& op = node_->op_type();
  if (op == "QuantizeLinear" || op == "DequantizeLinear" || op == "QLinearConv" ||
      op == "ConvInteger" || op == "DynamicQuantizeLinear") {
    fail("the model is quantized already: start from the float export");
  }
  if (node_->output_size() < 1) fail("it makes nothing");
  const bool standard = node_->domain().empty() || node_->domain() == "ai.onnx";
  if (standard && fold()) return;
  const ImportRule rule = standard ? find_rule(op) : nullptr;
  if (rule == nullptr) return import_opaque("this operator is not supported");
  try {
    rule(*this);
  } catch (const Unsupported& reason) {
    import_opaque(reason.what());
  }
}

// Size computations: Shape of a value, and anything that follows from constants alone.
bool Importer::fold() {
  const std::string& output = node_->output(0);
  std::optional<Tensor> value;
  if (node_->op_type() == "Constant") {
    value = constant_value(*node_);
    if (!value) fail("a constant of this kind is not supported");
  } else if (node_->op_type() == "Shape") {
    value = shape_value(*node_, input_shape(0));
  } else if (node_->input_size() > 0) {
    std::vector<const Tensor*> inputs;
    for (int i = 0; i < node_->input_size(); ++i) {
      inputs.push_back(find_constant(i));
      if (inputs.back() == nullptr && has_input(i)) return false;
    }
    if (can_evaluate(*node_)) value = evaluate(*node_, inputs, kMaxConstant);
    if (!value) return fold_by_running(inputs);
  }
  if (!value) return false;
  constants_[output] = std::move(*value);
  return true;
}

void Importer::import_outputs() {
  for (const auto& info : model_.graph().output()) {
    const auto found = values_.find(info.name());
    if (found == values_.end()) fail("output '{}' is constant", info.name());
    const ValueId id = found->second;
    const bool is_input = std::ranges::find(graph_.inputs, id) != graph_.inputs.end();
    if (is_input) fail("output '{}' is an input", info.name());
    // A Cast that was left out made the output: its source takes the name.
    if (graph_.values[id].name != info.name() && !value_names_.contains(info.name())) {
      graph_.values[id].name = unique_value_name(info.name());
    }
    graph_.outputs.push_back(id);
  }
}

std::string Importer::unique_node_name(const std::string& wanted) {
  const std::string stem = wanted.empty() ? node_->op_type() : wanted;
  std::string name = stem;
  for (int i = 1; !node_names_.insert(name).second; ++i) name = fmt::format("{}_{}", stem, i);
  return name;
}

std::string Importer::unique_value_name(const std::string& wanted) {
  std::string name = wanted;
  for (int i = 1; !value_names_.insert(name).second; ++i) name = fmt::format("{}_{}", wanted, i);
  return name;
}

bool Importer::has_input(int i) const {
  return i < node_->input_size() && !node_->input(i).empty();
}

const std::string& Importer::input_name(int i) const {
  if (!has_input(i)) fail("input {} is missing", i);
  return node_->input(i);
}

const Tensor* Importer::find_constant(int i) const {
  if (!has_input(i)) return nullptr;
  const auto found = constants_.find(node_->input(i));
  return found == constants_.end() ? nullptr : &found->second;
}

const Tensor& Importer::constant(int i) const {
  const Tensor* found = find_constant(i);
  if (found == nullptr) throw Unsupported(fmt::format("a computed '{}'", input_name(i)));
  return *found;
}

std::vector<int64_t> Importer::integers(int i) const {
  const Tensor& tensor = constant(i);
  if (tensor.dtype() == DType::kInt32) {
    const auto values = tensor.data<int32_t>();
    return {values.begin(), values.end()};
  }
  const auto values = tensor.data<int64_t>();
  return {values.begin(), values.end()};
}

ValueId Importer::input(int i) {
  const std::string& name = input_name(i);
  const auto found = values_.find(name);
  if (found != values_.end()) return found->second;
  const Tensor* found_constant = find_constant(i);
  if (found_constant == nullptr) fail("input '{}' is not there", name);
  const Tensor& value = *found_constant;
  std::string stem = name;  // our own files: parameter NODE.value of a Constant node
  if (stem.ends_with(".value")) stem.resize(stem.size() - 6);
  const std::string node_name = unique_node_name(stem);
  const bool is_float = is_floating_point(value.dtype());
  graph_.parameters[node_name + ".value"] = is_float ? value.to_float32() : value;
  const ValueId id = graph_.add_node(node_name, graph::Constant{}, {});
  graph_.values[id].name = unique_value_name(node_name);
  graph::infer_shapes(graph_, graph_.nodes.size() - 1);
  return values_[name] = id;
}

Shape Importer::input_shape(int i) {
  if (const Tensor* found = find_constant(i)) return found->shape();
  return graph_.values[input(i)].shape;
}

DType Importer::input_type(int i) {
  if (const Tensor* found = find_constant(i)) return found->dtype();
  return graph_.values[input(i)].dtype;
}

int64_t Importer::attribute(std::string_view name, int64_t otherwise) const {
  const pb::AttributeProto* found = find_attribute(*node_, name);
  return found == nullptr ? otherwise : found->i();
}

float Importer::attribute(std::string_view name, float otherwise) const {
  const pb::AttributeProto* found = find_attribute(*node_, name);
  return found == nullptr ? otherwise : found->f();
}

std::string Importer::text(std::string_view name, const std::string& otherwise) const {
  const pb::AttributeProto* found = find_attribute(*node_, name);
  return found == nullptr ? otherwise : found->s();
}

std::vector<int64_t> Importer::integers(std::string_view name,
                                        std::vector<int64_t> otherwise) const {
  const pb::AttributeProto* found = find_attribute(*node_, name);
  if (found == nullptr) return otherwise;
  return {found->ints().begin(), found->ints().end()};
}

void Importer::emit(graph::Operator op, const std::vector<ValueId>& inputs,
                    const std::map<std::string, Tensor>& parameters, const std::string& name) {
  const std::string wanted = name.empty() ? node_->name() : name;
  const std::string node_name = unique_node_name(wanted.empty() ? node_->output(0) : wanted);
  for (const auto& [part, tensor] : parameters) {
    graph_.parameters[fmt::format("{}.{}", node_name, part)] = tensor.to_float32();
  }
  graph::Node made{.name = node_name, .op = std::move(op), .inputs = inputs, .outputs = {}};
  for (const auto& output : node_->output()) {
    if (output.empty() && std::holds_alternative<graph::Opaque>(made.op)) continue;
    const ValueId id = graph_.add_value(unique_value_name(output));
    made.outputs.push_back(id);
    values_[output] = id;
  }
  graph_.nodes.push_back(std::move(made));
  graph::infer_shapes(graph_, graph_.nodes.size() - 1);
}

void Importer::alias(ValueId value) { values_[node_->output(0)] = value; }

}  // namespace yoloquant::onnx
