#include "onnx/verify.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "onnx/check.h"
#include "onnx/model_file.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

namespace {

constexpr int kMaxDepth = 16;  // of graphs within graphs
constexpr int64_t kNewestOpset = 64;

std::string node_label(const pb::NodeProto& node) {
  if (!node.name().empty()) return fmt::format("node '{}' ({})", node.name(), node.op_type());
  const std::string output = node.output_size() > 0 ? node.output(0) : "";
  return fmt::format("node that makes '{}' ({})", output, node.op_type());
}

using Names = std::set<std::string>;

// The names a graph sees: its own so far and, inside If or Loop, those around it.
struct Scope {
  const Names& names;
  const Scope* outer = nullptr;

  bool contains(const std::string& name) const {
    return names.contains(name) || (outer != nullptr && outer->contains(name));
  }
};

// Names in the file may hold line breaks and other control characters.
std::string printable(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  return text;
}

class Verifier {
 public:
  Verifier(const pb::ModelProto& model, const std::filesystem::path& folder)
      : model_(model), folder_(folder), opset_(default_opset(model)) {}

  Findings run() {
    if (model_.ir_version() < 1 || model_.ir_version() > pb::IR_VERSION) {
      problem("IR version {} is unknown", model_.ir_version());
    }
    if (opset_ < 1 || opset_ > kNewestOpset) problem("operator set {} is unknown", opset_);
    if (model_.graph().output_size() == 0) problem("the graph has no outputs");
    visit(model_.graph(), nullptr, 0);
    return std::move(findings_);
  }

 private:
  template <typename... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    if (findings_.problems.size() >= CheckReport::kMaxFindings) return;
    findings_.problems.push_back(printable(fmt::format(format, std::forward<Args>(args)...)));
  }
  template <typename... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) {
    if (findings_.warnings.size() >= CheckReport::kMaxFindings) return;
    findings_.warnings.push_back(printable(fmt::format(format, std::forward<Args>(args)...)));
  }

  void visit(const pb::GraphProto& graph, const Scope* outer, int depth) {
    if (depth > kMaxDepth) return problem("graphs are nested more than {} deep", kMaxDepth);
    Names defined;
    const Scope scope{defined, outer};
    std::map<std::string, const pb::TensorProto*> initializers;
    visit_inputs(graph, defined);
    visit_initializers(graph, defined, initializers);
    visit_nodes(graph, scope, defined, initializers, depth);
    for (const auto& output : graph.output()) {
      if (!scope.contains(output.name())) {
        problem("output '{}' is never made", output.name());
      }
    }
  }

  void visit_inputs(const pb::GraphProto& graph, Names& defined) {
    for (const auto& input : graph.input()) {
      if (input.name().empty()) problem("an input has no name");
      if (!defined.insert(input.name()).second) problem("input '{}' is there twice", input.name());
    }
  }

  void visit_initializers(const pb::GraphProto& graph, Names& defined,
                          std::map<std::string, const pb::TensorProto*>& initializers) {
    int64_t as_input = 0;
    int64_t typed = 0;
    for (const auto& tensor : graph.initializer()) {
      if (tensor.name().empty()) problem("an initializer has no name");
      if (!initializers.emplace(tensor.name(), &tensor).second) {
        problem("initializer '{}' is there twice", tensor.name());
      } else if (!defined.insert(tensor.name()).second) {
        ++as_input;
      }
      verify_data(tensor);
      if (!tensor.has_raw_data() && tensor.int32_data_size() > 0) ++typed;
    }
    for (const auto& sparse : graph.sparse_initializer()) defined.insert(sparse.values().name());
    if (as_input > 0) warning("{} initializers are listed as graph inputs", as_input);
    if (typed > 0) warning("{} initializers use int32_data, which takes more space", typed);
  }

  void verify_data(const pb::TensorProto& tensor) {
    std::string text = data_problem(tensor);
    if (text.empty() && tensor.data_location() == pb::TensorProto::EXTERNAL) {
      text = external_data_problem(tensor, folder_);
    }
    if (!text.empty()) problem("initializer '{}' {}", tensor.name(), text);
  }

  void visit_nodes(const pb::GraphProto& graph, const Scope& scope, Names& defined,
                   const std::map<std::string, const pb::TensorProto*>& initializers, int depth) {
    Names made_somewhere;
    for (const auto& node : graph.node()) {
      made_somewhere.insert(node.output().begin(), node.output().end());
    }
    Names node_names;
    for (const auto& node : graph.node()) {
      if (node.op_type().empty()) problem("{} has no operator type", node_label(node));
      if (!node.name().empty() && !node_names.insert(node.name()).second) {
        warning("two nodes are named '{}'", node.name());
      }
      for (const auto& input : node.input()) {
        if (input.empty() || scope.contains(input)) continue;
        if (made_somewhere.contains(input)) {
          problem("{} reads '{}' before it is made: not in topological order, or a cycle",
                  node_label(node), input);
        } else {
          problem("{} reads '{}', which nothing makes", node_label(node), input);
        }
      }
      visit_attributes(node, scope, depth);
      verify_quantization(node, initializers);
      for (const auto& output : node.output()) {
        if (output.empty()) continue;
        if (!defined.insert(output).second) problem("value '{}' is made twice", output);
      }
    }
  }

  void visit_attributes(const pb::NodeProto& node, const Scope& scope, int depth) {
    for (const auto& attribute : node.attribute()) {
      if (attribute.has_t()) {
        const std::string text = data_problem(attribute.t());
        if (!text.empty()) problem("{}: its tensor {}", node_label(node), text);
      }
      if (attribute.has_g()) visit(attribute.g(), &scope, depth + 1);
      for (const auto& graph : attribute.graphs()) visit(graph, &scope, depth + 1);
    }
  }

  void verify_quantization(const pb::NodeProto& node,
                           const std::map<std::string, const pb::TensorProto*>& initializers) {
    if (!node.domain().empty() && node.domain() != "ai.onnx") return;
    if (node.op_type() != "QuantizeLinear" && node.op_type() != "DequantizeLinear") return;
    const std::string text = quantization_problem(node, opset_, initializers);
    if (!text.empty()) problem("{}: {}", node_label(node), text);
  }

  const pb::ModelProto& model_;
  const std::filesystem::path& folder_;
  int64_t opset_;
  Findings findings_;
};

bool scale_type_allowed(int type, int64_t opset) {
  if (type == pb::TensorProto::FLOAT) return true;
  const bool half = type == pb::TensorProto::FLOAT16 || type == pb::TensorProto::BFLOAT16;
  return (half && opset >= 19) || (type == pb::TensorProto::FLOAT8E8M0 && opset >= 24);
}

bool code_type_allowed(int type, int64_t opset, bool dequantize) {
  switch (type) {
    case pb::TensorProto::INT8:
    case pb::TensorProto::UINT8:
      return true;
    case pb::TensorProto::INT32:
      return dequantize;
    case pb::TensorProto::FLOAT8E4M3FN:
    case pb::TensorProto::FLOAT8E4M3FNUZ:
    case pb::TensorProto::FLOAT8E5M2:
    case pb::TensorProto::FLOAT8E5M2FNUZ:
      return opset >= 19;
    case pb::TensorProto::INT16:
    case pb::TensorProto::UINT16:
    case pb::TensorProto::INT4:
    case pb::TensorProto::UINT4:
      return opset >= 21;
    case pb::TensorProto::FLOAT4E2M1:
      return opset >= 23;
    case pb::TensorProto::INT2:
    case pb::TensorProto::UINT2:
      return opset >= 25;
    default:
      return false;
  }
}

}  // namespace

std::string quantization_problem(
    const pb::NodeProto& node, int64_t opset,
    const std::map<std::string, const pb::TensorProto*>& initializers) {
  if (node.input_size() < 2 || node.input_size() > 3) return "needs 2 or 3 inputs";
  const auto find = [&](int index) -> const pb::TensorProto* {
    if (index >= node.input_size()) return nullptr;
    const auto found = initializers.find(node.input(index));
    return found == initializers.end() ? nullptr : found->second;
  };
  const pb::TensorProto* x = find(0);
  const pb::TensorProto* scale = find(1);
  const pb::TensorProto* zero = find(2);
  const bool dequantize = node.op_type() == "DequantizeLinear";
  if (opset < 10) return fmt::format("does not exist in opset {}", opset);
  if (zero != nullptr && !code_type_allowed(zero->data_type(), opset, dequantize)) {
    return fmt::format("zero point of type {} is not allowed in opset {}",
                       data_type_name(zero->data_type()), opset);
  }
  if (dequantize && x != nullptr && zero != nullptr && x->data_type() != zero->data_type()) {
    return fmt::format("codes are {}, the zero point is {}", data_type_name(x->data_type()),
                       data_type_name(zero->data_type()));
  }
  if (scale == nullptr) return "";
  if (!scale_type_allowed(scale->data_type(), opset)) {
    return fmt::format("scale of type {} is not allowed in opset {}",
                       data_type_name(scale->data_type()), opset);
  }
  if (zero != nullptr && dims_of(*zero) != dims_of(*scale)) {
    return fmt::format("scale has shape {}, zero point {}", shape_string(dims_of(*scale)),
                       shape_string(dims_of(*zero)));
  }
  const pb::AttributeProto* blocks = find_attribute(node, "block_size");
  const bool blocked = blocks != nullptr && blocks->i() > 0;
  if (scale->dims_size() > 1 && !blocked) {
    return fmt::format("scale has shape {}", shape_string(dims_of(*scale)));
  }
  const bool per_axis = scale->dims_size() == 1 && scale->dims(0) != 1 && !blocked;
  if (!per_axis) return "";
  if (opset < 13) return fmt::format("a scale for each channel is not allowed in opset {}", opset);
  if (x == nullptr) return "";
  const pb::AttributeProto* attribute = find_attribute(node, "axis");
  int64_t axis = attribute != nullptr ? attribute->i() : 1;
  if (axis < 0) axis += x->dims_size();
  if (axis < 0 || axis >= x->dims_size()) {
    return fmt::format("axis {} for shape {}", attribute != nullptr ? attribute->i() : 1,
                       shape_string(dims_of(*x)));
  }
  if (x->dims(static_cast<int>(axis)) != scale->dims(0)) {
    return fmt::format("{} scales for axis {} of shape {}", scale->dims(0), axis,
                       shape_string(dims_of(*x)));
  }
  return "";
}

Findings verify(const pb::ModelProto& model, const std::filesystem::path& folder) {
  return Verifier(model, folder).run();
}

void require_valid(const pb::ModelProto& model, const std::filesystem::path& folder) {
  const Findings findings = verify(model, folder);
  if (findings.problems.empty()) return;
  const size_t others = findings.problems.size() - 1;
  if (others == 0) fail("invalid ONNX model: {}", findings.problems[0]);
  fail("invalid ONNX model: {} (and {} more)", findings.problems[0], others);
}

}  // namespace yoloquant::onnx
