#include <nlohmann/json.hpp>

#include "cli/eval_arguments.h"
#include "cli/onnx_diff.h"
#include "cli/predict_command.h"
#include "cli/program.h"
#include "cli/shapes_command.h"
#include "cli/terminal.h"

namespace yoloquant::cli {

namespace {

// Differences are printed for this many nodes; --json has all.
constexpr size_t kShownNodes = 25;

nlohmann::ordered_json differences_json(const std::vector<runtime::Difference>& differences) {
  auto json = nlohmann::ordered_json::array();
  for (const runtime::Difference& d : differences) {
    nlohmann::ordered_json row = {{"name", d.name}, {"shape", d.shape}};
    if (!d.op.empty()) row["op"] = d.op;
    if (d.shape != d.other_shape) row["other_shape"] = d.other_shape;
    row["max_abs"] = d.max_abs;
    row["mean_abs"] = d.mean_abs;
    row["max_relative"] = d.max_relative;
    row["mean_relative"] = d.mean_relative;
    json.push_back(row);
  }
  return json;
}

std::string differences_text(const std::vector<runtime::Difference>& differences, size_t limit) {
  std::vector<std::vector<std::string>> table = {
      {"value", "operator", "max abs", "mean abs", "max rel", "mean rel"}};
  for (const runtime::Difference& d : differences) {
    if (table.size() > limit) break;
    if (d.shape != d.other_shape) {
      table.push_back({d.name, d.op, shape_string(d.shape), shape_string(d.other_shape), "", ""});
      continue;
    }
    table.push_back({d.name, d.op, fmt::format("{:.3g}", d.max_abs),
                     fmt::format("{:.3g}", d.mean_abs), fmt::format("{:.3g}", d.max_relative),
                     fmt::format("{:.3g}", d.mean_relative)});
  }
  std::string text = format_table(table);
  if (differences.size() > limit) {
    text += fmt::format("and {} more (--json lists all)\n", differences.size() - limit);
  }
  return text;
}

}  // namespace

int run_diff(const DiffArguments& arguments, Context& context) {
  runtime::DiffOptions options;
  options.per_node = arguments.per_node;
  options.session = {arguments.device.provider, arguments.device.index, context.threads(),
                     arguments.graph_optimization};
  const runtime::DiffReport report =
      diff_models(arguments.a, arguments.b, arguments.inputs, options, context.progress());
  nlohmann::ordered_json json = {{"a", arguments.a.string()},
                                 {"b", arguments.b.string()},
                                 {"comparable", report.comparable()},
                                 {"max_abs", report.max_abs()},
                                 {"outputs", differences_json(report.outputs)}};
  std::string text = differences_text(report.outputs, report.outputs.size());
  if (arguments.per_node) {
    json["nodes"] = differences_json(report.nodes);
    text += '\n' + differences_text(report.nodes, kShownNodes);
  }
  context.result(json, text);
  return 0;
}

Runners image_runners() {
  Runners runners;
  runners.eval = run_eval;
  runners.predict = run_predict;
  runners.onnx_diff = run_diff;
  runners.shapes = run_shapes;
  return runners;
}

}  // namespace yoloquant::cli
