#include "cli/onnx_report.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/terminal.h"

namespace yoloquant::cli {

namespace {

std::string shape_text(const onnx::ValueDescription& value) {
  if (!value.has_shape) return "of unknown shape";
  std::string text;
  for (const onnx::Dimension& dimension : value.shape) {
    if (!text.empty()) text += ", ";
    if (dimension.size) {
      text += std::to_string(*dimension.size);
    } else {
      text += dimension.symbol.empty() ? "?" : dimension.symbol;
    }
  }
  return "[" + text + "]";
}

std::string value_lines(const char* label, const std::vector<onnx::ValueDescription>& values) {
  std::string text;
  for (const onnx::ValueDescription& value : values) {
    text += fmt::format("{}  {} {} {}\n", label, value.name, value.dtype, shape_text(value));
  }
  return text;
}

}  // namespace

std::string onnx_report_text(const std::string& path, const onnx::CheckReport& report) {
  std::string text =
      fmt::format("{}: opset {}, IR {}, {} nodes, {} initializers, {}\n", path, report.opset,
                  report.ir_version, report.node_count, report.initializer_count,
                  human_bytes(static_cast<double>(report.file_bytes)));
  if (!report.producer.empty()) text += fmt::format("producer  {}\n", report.producer);
  text += value_lines("input   ", report.inputs) + value_lines("output  ", report.outputs);
  std::vector<std::vector<std::string>> table = {{"operator", "count"}};
  for (const auto& [op, count] : report.op_counts) table.push_back({op, std::to_string(count)});
  text += format_table(table);
  for (const std::string& problem : report.problems) text += "problem: " + problem + '\n';
  for (const std::string& warning : report.warnings) text += "warning: " + warning + '\n';
  if (report.ok()) text += "no problems found\n";
  return text;
}

}  // namespace yoloquant::cli
