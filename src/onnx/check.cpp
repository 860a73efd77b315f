#include "onnx/check.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "onnx/model_file.h"
#include "onnx/tensor_proto.h"
#include "onnx/verify.h"

namespace yoloquant::onnx {

namespace {

constexpr int kMaxDepth = 16;

ValueDescription describe(const pb::ValueInfoProto& info) {
  ValueDescription result;
  result.name = info.name();
  if (!info.type().has_tensor_type()) return result;
  const auto& tensor = info.type().tensor_type();
  result.dtype = data_type_name(tensor.elem_type());
  result.has_shape = tensor.has_shape();
  for (const auto& dim : tensor.shape().dim()) {
    Dimension& dimension = result.shape.emplace_back();
    if (dim.has_dim_value()) dimension.size = dim.dim_value();
    dimension.symbol = dim.dim_param();
  }
  return result;
}

void count_nodes(const pb::GraphProto& graph, CheckReport& report, int depth) {
  if (depth > kMaxDepth) return;
  for (const auto& node : graph.node()) {
    const bool standard = node.domain().empty() || node.domain() == "ai.onnx";
    ++report.op_counts[standard ? node.op_type() : node.domain() + "::" + node.op_type()];
    ++report.node_count;
    for (const auto& attribute : node.attribute()) {
      if (attribute.has_g()) count_nodes(attribute.g(), report, depth + 1);
      for (const auto& inner : attribute.graphs()) count_nodes(inner, report, depth + 1);
    }
  }
}

void count_initializers(const pb::GraphProto& graph, CheckReport& report) {
  report.initializer_count = graph.initializer_size();
  for (const auto& tensor : graph.initializer()) {
    if (!data_problem(tensor).empty()) continue;  // among the problems already
    report.initializer_bytes[data_type_name(tensor.data_type())] +=
        tensor.data_type() == pb::TensorProto::STRING ? 0 : expected_bytes(tensor);
  }
}

CheckReport report_on(const pb::ModelProto& model, const std::filesystem::path& folder) {
  CheckReport report;
  for (const auto& input : model.graph().input()) report.inputs.push_back(describe(input));
  for (const auto& output : model.graph().output()) report.outputs.push_back(describe(output));
  report.opset = default_opset(model);
  report.ir_version = model.ir_version();
  report.producer = model.producer_name();
  if (!model.producer_version().empty()) report.producer += " " + model.producer_version();
  for (const auto& entry : model.metadata_props()) report.metadata[entry.key()] = entry.value();
  count_nodes(model.graph(), report, 0);
  count_initializers(model.graph(), report);
  Findings findings = verify(model, folder);
  report.problems = std::move(findings.problems);
  report.warnings = std::move(findings.warnings);
  return report;
}

nlohmann::json value_json(const ValueDescription& value) {
  nlohmann::json shape;
  if (value.has_shape) shape = nlohmann::json::array();
  for (const Dimension& dimension : value.shape) {
    if (dimension.size) {
      shape.push_back(*dimension.size);
    } else if (!dimension.symbol.empty()) {
      shape.push_back(dimension.symbol);
    } else {
      shape.push_back(nullptr);
    }
  }
  return {{"name", value.name}, {"dtype", value.dtype}, {"shape", shape}};
}

nlohmann::json values_json(const std::vector<ValueDescription>& values) {
  nlohmann::json result = nlohmann::json::array();
  for (const auto& value : values) result.push_back(value_json(value));
  return result;
}

}  // namespace

CheckReport check(const std::filesystem::path& path) {
  CheckReport report = report_on(load_model(path, ExternalData::kLeave), path.parent_path());
  report.file_bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  return report;
}

CheckReport check_bytes(std::string_view bytes, const std::filesystem::path& folder) {
  CheckReport report = report_on(parse_model(bytes), folder);
  report.file_bytes = static_cast<int64_t>(bytes.size());
  return report;
}

nlohmann::json to_json(const CheckReport& report) {
  const nlohmann::json json = {
      {"op_counts", report.op_counts},
      {"inputs", values_json(report.inputs)},
      {"outputs", values_json(report.outputs)},
      {"opset", report.opset},
      {"ir_version", report.ir_version},
      {"producer", report.producer},
      {"file_bytes", report.file_bytes},
      {"nodes", report.node_count},
      {"initializers", {{"count", report.initializer_count}, {"bytes", report.initializer_bytes}}},
      {"metadata", report.metadata},
      {"problems", report.problems},
      {"warnings", report.warnings}};
  // Names in the file may be any bytes; JSON is UTF-8.
  return nlohmann::json::parse(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace yoloquant::onnx
