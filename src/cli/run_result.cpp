#include "cli/run_result.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/terminal.h"
#include "report/summary.h"

namespace yoloquant::cli {

namespace {

std::string signed_interval(const report::Interval& interval) {
  return fmt::format("{:+.4f} ({:+.4f} to {:+.4f})", interval.estimate, interval.low,
                     interval.high);
}

std::string fidelity_cell(const report::Variant& variant) {
  if (variant.fidelity < 0) return "";
  if (!variant.fidelity_interval) return fmt::format("{:.4f}", variant.fidelity);
  return fmt::format("{:.4f} ({:.4f} to {:.4f})", variant.fidelity, variant.fidelity_interval->low,
                     variant.fidelity_interval->high);
}

std::string result_text(const pipeline::RunResult& result) {
  std::vector<std::vector<std::string>> table = {{"variant", "mAP50-95", "mAP50",
                                                  "difference (95 % interval)",
                                                  "fidelity (95 % interval)", "median ms", "MB"}};
  for (const report::Variant& variant : result.summary.variants) {
    table.push_back({variant.name, fmt::format("{:.4f}", variant.map_50_95),
                     fmt::format("{:.4f}", variant.map_50),
                     variant.difference ? signed_interval(*variant.difference) : "",
                     fidelity_cell(variant),
                     variant.latency ? fmt::format("{:.2f}", variant.latency->median_ms) : "",
                     fmt::format("{:.2f}", static_cast<double>(variant.file_bytes) / 1e6)});
  }
  std::string text = format_table(table) + report::gain_text(result.summary) +
                     (result.root / "summary.md").string() + '\n';
  const auto pictures = result.summary.files.find("pictures");
  if (pictures != result.summary.files.end()) {
    text += (result.root / pictures->second).string() + '\n';
  }
  return text;
}

}  // namespace

int show(const pipeline::RunResult& result, Context& context) {
  // What `yoloquant run` takes to do it again; config.yaml has what became of it.
  write_file(result.root / "command.yaml", context.options_yaml());
  for (const std::string& warning : result.summary.warnings) context.warn("{}", warning);
  for (const std::string& finding : report::findings(result.summary)) context.info("{}", finding);
  nlohmann::ordered_json json = {{"root", result.root.string()},
                                 {"summary", report::summary_json(result.summary)}};
  context.result(json, result_text(result));
  return 0;
}

bool can_resume(const std::filesystem::path& root, bool wanted, Context& context) {
  if (!wanted) return false;
  if (root.empty()) fail_usage("--resume needs --out RUN_ROOT, the run to go on with");
  if (std::filesystem::exists(root / "journal.jsonl")) return true;
  context.warn("{} holds no finished stage: starting from the beginning", root.string());
  return false;
}

}  // namespace yoloquant::cli
