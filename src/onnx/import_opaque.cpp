#include <algorithm>
#include <array>

#include "base/error.h"
#include "onnx/importer.h"
#include "onnx/opaque.h"
#include "onnx/tensor_proto.h"

// Nodes without a rule: carried as they are, run by what ReadOptions::compile makes.
namespace yoloquant::onnx {

using graph::Opaque;
using graph::ValueId;

namespace {

constexpr int64_t kMaxFolded = int64_t{1} << 24;

// Results of these may be of any size, whatever their operands': they are not tried.
bool may_explode(std::string_view op) {
  static constexpr std::array<std::string_view, 7> kOps{
      "ConstantOfShape", "Expand", "Range", "Tile", "Resize", "Pad", "Upsample"};
  return std::ranges::find(kOps, op) != kOps.end();
}

bool depends_on_data(std::string_view op) {
  static constexpr std::array<std::string_view, 4> kOps{"NonZero", "NonMaxSuppression", "Unique",
                                                        "Compress"};
  return std::ranges::find(kOps, op) != kOps.end();
}

// Integer division by 0, or of the lowest number by -1, would end the process.
bool divides_badly(const pb::NodeProto& node, const std::vector<const Tensor*>& inputs) {
  const bool divides = node.op_type() == "Div" || node.op_type() == "Mod";
  if (!divides || inputs.size() < 2 || inputs[1] == nullptr) return false;
  const Tensor& divisor = *inputs[1];
  if (is_floating_point(divisor.dtype())) return false;
  if (divisor.dtype() != DType::kInt64) return true;
  return std::ranges::any_of(divisor.data<int64_t>(), [](int64_t d) { return d == 0 || d == -1; });
}

int64_t version_of(const pb::ModelProto& model, const std::string& domain) {
  for (const auto& import : model.opset_import()) {
    if (import.domain() == domain) return import.version();
  }
  fail("the file does not say which version of domain '{}' it uses", domain);
}

}  // namespace

Opaque Importer::opaque_of(const pb::NodeProto& node) const {
  Opaque opaque;
  const bool standard = node.domain().empty() || node.domain() == "ai.onnx";
  opaque.type = standard ? node.op_type() : node.domain() + "::" + node.op_type();
  opaque.form = opaque_form(node);
  opaque.version = opset_;
  if (!standard) opaque.domain_version = version_of(model_, node.domain());
  return opaque;
}

bool Importer::fold_by_running(const std::vector<const Tensor*>& inputs) {
  if (!options_.compile || may_explode(node_->op_type())) return false;
  if (depends_on_data(node_->op_type()) || divides_badly(*node_, inputs)) return false;
  std::vector<Tensor> values;
  std::vector<DType> types;
  for (const Tensor* input : inputs) {
    if (input == nullptr) continue;
    values.push_back(*input);
    types.push_back(input->dtype());
  }
  if (values.empty()) return false;
  const Opaque opaque = opaque_of(*node_);
  const std::vector<Tensor> results = options_.compile(opaque_model(opaque, types))(values);
  size_t next = 0;
  for (const std::string& output : node_->output()) {
    if (output.empty()) continue;
    const Tensor& result = results.at(next++);
    if (result.size() > kMaxFolded) fail("result {} is too large", shape_string(result.shape()));
    constants_[output] = result;
  }
  return true;
}

// What comes out, by running the node on zeros (and its constants), or as the file declares it.
void Importer::find_outputs(Opaque& opaque, const std::vector<ValueId>& inputs,
                            const std::string& reason) const {
  if (opaque.function) {
    const auto producers = graph_.producers();
    std::vector<Tensor> values;
    for (const ValueId id : inputs) {
      const graph::Value& value = graph_.values[id];
      const int producer = producers[id];
      const bool is_constant =
          producer >= 0 && std::holds_alternative<graph::Constant>(graph_.nodes[producer].op);
      values.push_back(is_constant ? graph_.parameter(graph_.nodes[producer].name + ".value")
                                   : Tensor(value.dtype, value.shape));
    }
    for (const Tensor& result : opaque.function(values)) {
      opaque.outputs.emplace_back(result.dtype(), result.shape());
    }
  } else {
    for (const std::string& output : node_->output()) {
      if (output.empty()) continue;
      const auto shape = declared_.shapes.find(output);
      const auto type = declared_.types.find(output);
      if (shape == declared_.shapes.end() || type == declared_.types.end()) {
        fail("{}, and the file does not declare the shape of what it makes", reason);
      }
      const auto dtype = tensor_type(type->second);
      if (!dtype) fail("it makes {}", data_type_name(type->second));
      element_count(shape->second);  // throws for nonsense
      opaque.outputs.emplace_back(*dtype, shape->second);
    }
  }
  for (const auto& [dtype, shape] : opaque.outputs) {
    if (is_floating_point(dtype) && dtype != DType::kFloat32) {
      fail("{}, and it makes {} where float32 is wanted", reason, dtype_name(dtype));
    }
  }
}

void Importer::import_opaque(const std::string& reason) {
  if (depends_on_data(node_->op_type())) {
    fail("the size of what it makes depends on the data: export the model without NMS");
  }
  Opaque opaque = opaque_of(*node_);
  std::vector<ValueId> inputs;
  std::vector<DType> types;
  for (int i = 0; i < node_->input_size(); ++i) {
    if (!has_input(i)) continue;
    inputs.push_back(input(i));
    types.push_back(graph_.values[inputs.back()].dtype);
    opaque.input_shapes.push_back(graph_.values[inputs.back()].shape);
  }
  if (inputs.empty()) fail("an operator without inputs is not supported");
  if (options_.compile) opaque.function = options_.compile(opaque_model(opaque, types));
  find_outputs(opaque, inputs, reason);
  emit(std::move(opaque), inputs);
}

}  // namespace yoloquant::onnx
