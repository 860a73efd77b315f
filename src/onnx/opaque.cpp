#include "onnx/opaque.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "onnx/lowering.h"
#include "onnx/tensor_proto.h"
#include "onnx/writer.h"

namespace yoloquant::onnx {

namespace {

// Operators whose inputs, attributes or meaning changed between opset 11 and kMaxOpset such that an
// older node is no valid newer one. (Changes that only add types or optional parts are none.)
struct Change {
  std::string_view op;
  int64_t opset;
};
constexpr std::array kChanges = std::to_array<Change>({
    {"DFT", 20},          {"Dropout", 12},         {"GridSample", 20}, {"GroupNormalization", 21},
    {"Hardmax", 13},      {"LogSoftmax", 13},      {"ReduceL1", 18},   {"ReduceL2", 18},
    {"ReduceLogSum", 18}, {"ReduceLogSumExp", 18}, {"ReduceMax", 18},  {"ReduceMean", 18},
    {"ReduceMin", 18},    {"ReduceProd", 18},      {"ReduceSum", 13},  {"ReduceSumSquare", 18},
    {"RoiAlign", 16},     {"Softmax", 13},         {"Split", 13},      {"Split", 18},
    {"Squeeze", 13},      {"Unsqueeze", 13},
});

void require_same_form(const graph::Node& node, const graph::Opaque& opaque, int opset) {
  for (const Change& change : kChanges) {
    if (change.op == opaque.type && opaque.version < change.opset && change.opset <= opset) {
      fail("{}: {} of opset {} is another operator in opset {}: export the model with opset {}",
           node.name, opaque.type, opaque.version, opset, opset);
    }
  }
}

}  // namespace

std::string opaque_form(const pb::NodeProto& node) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.has_g() || attribute.graphs_size() > 0) {
      fail("operators with graphs inside are not supported");
    }
  }
  pb::NodeProto form;
  form.set_op_type(node.op_type());
  form.set_domain(node.domain());
  *form.mutable_attribute() = node.attribute();
  int count = 0;
  for (const auto& input : node.input()) {
    form.add_input(input.empty() ? "" : std::to_string(count++));
  }
  count = 0;
  for (const auto& output : node.output()) {
    form.add_output(output.empty() ? "" : std::to_string(count++));
  }
  return form.SerializeAsString();
}

pb::NodeProto opaque_node(const graph::Opaque& opaque, const std::string& name,
                          const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs) {
  pb::NodeProto node;
  if (!node.ParseFromString(opaque.form)) fail("{} was not read from an ONNX file", opaque.type);
  node.set_name(name);
  size_t next = 0;
  for (auto& input : *node.mutable_input()) {
    if (!input.empty()) input = inputs.at(next++);
  }
  next = 0;
  for (auto& output : *node.mutable_output()) {
    if (!output.empty()) output = outputs.at(next++);
  }
  return node;
}

std::string opaque_model(const graph::Opaque& opaque, const std::vector<DType>& input_types) {
  pb::ModelProto model;
  model.set_ir_version(8);
  auto* standard = model.add_opset_import();
  standard->set_version(opaque.version);
  pb::GraphProto& graph = *model.mutable_graph();
  graph.set_name("operator");
  std::vector<std::string> inputs;
  for (const DType dtype : input_types) {
    inputs.push_back(fmt::format("in{}", inputs.size()));
    auto* info = graph.add_input();
    info->set_name(inputs.back());
    info->mutable_type()->mutable_tensor_type()->set_elem_type(onnx_type(dtype));
  }
  pb::NodeProto& node = *graph.add_node();
  pb::NodeProto form;
  form.ParseFromString(opaque.form);
  std::vector<std::string> outputs;
  for (const auto& output : form.output()) {
    if (output.empty()) continue;
    outputs.push_back(fmt::format("out{}", outputs.size()));
    graph.add_output()->set_name(outputs.back());
  }
  node = opaque_node(opaque, "operator", inputs, outputs);
  if (opaque.domain_version > 0) {
    auto* own = model.add_opset_import();
    own->set_domain(node.domain());
    own->set_version(opaque.domain_version);
  }
  return model.SerializeAsString();
}

int opaque_opset(const graph::Graph& graph, int wanted) {
  int64_t opset = wanted;
  for (const graph::Node& node : graph.nodes) {
    const auto* opaque = std::get_if<graph::Opaque>(&node.op);
    if (opaque != nullptr) opset = std::max(opset, opaque->version);
  }
  if (opset > kMaxOpset) {
    fail(
        "the model has operators of opset {} that are kept as they are: export it with opset {} "
        "or older",
        opset, kMaxOpset);
  }
  for (const graph::Node& node : graph.nodes) {
    const auto* opaque = std::get_if<graph::Opaque>(&node.op);
    if (opaque != nullptr) require_same_form(node, *opaque, static_cast<int>(opset));
  }
  return static_cast<int>(opset);
}

void lower_opaque(const LoweringContext& at, const graph::Opaque& opaque) {
  at.builder.add_proto(opaque_node(opaque, at.node.name, at.inputs, at.outputs),
                       opaque.domain_version);
}

}  // namespace yoloquant::onnx
