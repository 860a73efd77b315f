#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "report/markdown.h"
#include "report/summary.h"

namespace yoloquant::report {
namespace {

std::string figure(double value) {
  return value < 0 ? "-" : fmt::format("{:.4f}", value);  // -1: not defined
}

std::string interval_text(const Interval& interval) {
  return fmt::format("{:+.4f} [{:+.4f}, {:+.4f}]", interval.estimate, interval.low, interval.high);
}

std::string fidelity_text(const Variant& variant) {
  if (!variant.fidelity_interval) return figure(variant.fidelity);
  return fmt::format("{:.4f} [{:.4f}, {:.4f}]", variant.fidelity, variant.fidelity_interval->low,
                     variant.fidelity_interval->high);
}

std::string count_text(const Variant& variant) {
  const auto count = [&](const char* op) {
    const auto found = variant.op_counts.find(op);
    return found == variant.op_counts.end() ? 0 : found->second;
  };
  return fmt::format("{} / {} / {}", count("QuantizeLinear"), count("DequantizeLinear"),
                     count("Clip"));
}

std::string verification_text(const Variant& variant) {
  if (!variant.verification) return "-";
  return fmt::format("{:.2g} px, {:.2g}", variant.verification->max_box_pixels,
                     variant.verification->max_score);
}

double size_ratio(const Variant& variant, const Variant& baseline) {
  return static_cast<double>(variant.file_bytes) /
         static_cast<double>(std::max<int64_t>(baseline.file_bytes, 1));
}

Table accuracy_table(const RunSummary& summary) {
  Table table({"variant", "method", "mAP50-95", "mAP50", "difference [95 % interval]",
               "fidelity [95 % interval]", "from"});
  for (const Variant& v : summary.variants) {
    table.add({v.name, v.method.empty() ? "-" : v.method, figure(v.map_50_95), figure(v.map_50),
               v.difference ? interval_text(*v.difference) : "-", fidelity_text(v),
               link(v.metrics)});
  }
  return table;
}

Table cost_table(const RunSummary& summary) {
  Table table({"variant", "mean ms", "median ms", "time / baseline [95 %]", "file",
               "size / baseline", "provider"});
  const Variant& baseline = summary.variants.front();
  for (const Variant& v : summary.variants) {
    table.add({v.name, v.latency ? fmt::format("{:.2f}", v.latency->mean_ms) : "-",
               v.latency ? fmt::format("{:.2f}", v.latency->median_ms) : "-",
               v.latency ? fmt::format("{:.2f} [{:.2f}, {:.2f}]", v.latency->ratio.estimate,
                                       v.latency->ratio.low, v.latency->ratio.high)
                         : "-",
               human_bytes(static_cast<double>(v.file_bytes)),
               fmt::format("{:.2f}", size_ratio(v, baseline)), v.provider});
  }
  return table;
}

Table file_table(const RunSummary& summary) {
  Table table({"variant", "Q / DQ / Clip", "runtime - simulator", "worst conv", "model", "check",
               "quantization"});
  for (const Variant& v : summary.variants) {
    table.add({v.name, count_text(v), verification_text(v),
               v.verification ? fmt::format("{:.1e}", v.verification->worst_conv) : "-",
               link(v.onnx), link(v.check), v.quantize.empty() ? "-" : link(v.quantize)});
  }
  return table;
}

std::string header(const RunSummary& s) {
  return fmt::format(
      "# {}\n\n"
      "- model: {}, head {}, input {}\n"
      "- data: {}, {} images\n"
      "- hardware: {}\n",
      s.title, s.model, s.head, s.image_size, s.data, s.image_count, s.hardware);
}

std::string bullets(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "- " + line + "\n";
  return text;
}

std::string stage_section(const RunSummary& summary) {
  Table table({"stage", "time", ""});
  double total = 0;
  for (const StageTime& stage : summary.stages) {
    table.add({stage.name, human_seconds(stage.seconds), stage.skipped ? "done before" : ""});
    total += stage.seconds;
  }
  table.add({"all", human_seconds(total), ""});
  return "\n## Stages\n\n" + table.markdown();
}

std::string file_section(const RunSummary& summary) {
  std::string text = "\n## Files\n\n";
  for (const auto& [what, path] : summary.files)
    text += fmt::format("- {}: {}\n", what, link(path));
  return text;
}

}  // namespace

std::string gain_text(const RunSummary& summary) {
  std::string text;
  for (const Variant& v : summary.variants) {
    if (!v.gain) continue;
    text += fmt::format("Training {} to {} changed mAP50-95 by {}.\n", v.trained_from, v.name,
                        interval_text(*v.gain));
  }
  return text;
}

std::string summary_markdown(const RunSummary& summary) {
  std::string text;
  if (!summary.warnings.empty()) {
    for (const std::string& warning : summary.warnings) {
      text += fmt::format("> **Warning:** {}\n>\n", warning);
    }
    text.resize(text.size() - 2);
    text += "\n";
  }
  text += header(summary);
  if (summary.variants.empty()) return text;
  text += "\n## Accuracy\n\n" + accuracy_table(summary).markdown();
  const auto difference = summary.files.find("differences");
  if (difference != summary.files.end()) {
    text += fmt::format("\nDifferences are to {} on the same images, resampled together ({}).\n",
                        summary.variants.front().name, link(difference->second));
    text += gain_text(summary);
  }
  const auto fidelity = summary.files.find("fidelity");
  if (fidelity != summary.files.end()) {
    text += fmt::format(
        "\nFidelity is the mAP50-95 of a variant's detections with the confident ones of {} as "
        "ground "
        "truth; by class and image in {}.\n",
        summary.variants.front().name, link(fidelity->second));
  }
  if (summary.files.contains("chart")) {
    text += fmt::format("\n![mAP, fidelity and file size]({})\n", summary.files.at("chart"));
  }
  if (summary.files.contains("pictures")) {
    text += fmt::format("\n## Pictures\n\n![detections side by side]({})\n",
                        summary.files.at("pictures"));
  }
  text += "\n## Time and size\n\n" + cost_table(summary).markdown();
  const auto latency = summary.files.find("latency");
  if (latency != summary.files.end()) {
    text += fmt::format("\nTimes are of all variants in turn ({}).\n", link(latency->second));
  }
  text += "\n## Graphs\n\n" + file_table(summary).markdown();
  text +=
      "\n\"runtime - simulator\" is the largest difference of boxes and scores between ONNX "
      "Runtime "
      "and the simulator on the verification images, graph optimizations on or off; \"worst conv\" "
      "the largest relative difference of a conv given the same input.\n";
  const std::vector<std::string> found = findings(summary);
  if (!found.empty()) text += "\n## Findings\n\n" + bullets(found);
  return text + stage_section(summary) + file_section(summary);
}

}  // namespace yoloquant::report
