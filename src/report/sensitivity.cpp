#include "report/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "base/text.h"
#include "report/markdown.h"

namespace yoloquant::report {
namespace {

using nlohmann::ordered_json;

constexpr int kUsualBits = 4;

const SensitivityRow* ranked_row(const SensitivityLine& line, bool raised) {
  const auto float_row = line.by_bits.find(0);
  if (raised) {
    return float_row != line.by_bits.end() ? float_row->second : line.by_bits.rbegin()->second;
  }
  const auto usual = line.by_bits.find(kUsualBits);
  return usual != line.by_bits.end() ? usual->second : line.by_bits.begin()->second;
}

std::string bits_name(int bits) { return bits == 0 ? "float" : fmt::format("{}", bits); }

std::vector<int> all_bits(const SensitivityReport& report) {
  std::set<int> bits;
  for (const SensitivityRow& row : report.rows) bits.insert(row.bits);
  std::vector<int> sorted(bits.begin(), bits.end());
  // Float is more than any number of bits.
  if (!sorted.empty() && sorted.front() == 0) std::ranges::rotate(sorted, sorted.begin() + 1);
  return sorted;
}

std::string optional_number(const std::optional<double>& value) {
  return value ? fmt::format("{:.4f}", *value) : "";
}

// Name, part, weights, impact at each bits; fidelity and mAP of the row that ranks.
struct TableColumns {
  explicit TableColumns(const SensitivityReport& report) : bits(all_bits(report)) {
    for (const SensitivityRow& row : report.rows) {
      fidelity = fidelity || row.fidelity.has_value();
      map = map || row.map.has_value();
    }
    raised = !report.base.empty();
  }

  std::vector<std::string> header() const {
    std::vector<std::string> cells{"layer", "part", "weights"};
    for (const int b : bits) {
      cells.push_back(fmt::format("{} {}", raised ? "gain" : "harm", bits_name(b)));
    }
    if (fidelity) cells.push_back("fidelity");
    if (map) cells.push_back("mAP50-95");
    return cells;
  }

  std::vector<std::string> row(const SensitivityLine& line) const {
    std::vector<std::string> cells{line.name, line.part, fmt::format("{}", line.weights)};
    for (const int b : bits) {
      const auto found = line.by_bits.find(b);
      cells.push_back(found == line.by_bits.end() ? "-"
                                                  : fmt::format("{:.3g}", found->second->impact()));
    }
    const auto number = [](const std::optional<double>& x) {
      return x ? fmt::format("{:.4f}", *x) : std::string("-");
    };
    if (fidelity) cells.push_back(number(line.ranked->fidelity));
    if (map) cells.push_back(number(line.ranked->map));
    return cells;
  }

  std::vector<int> bits;
  bool fidelity = false;
  bool map = false;
  bool raised = false;
};

std::string explanation(const SensitivityReport& report) {
  std::string text;
  if (report.base.empty()) {
    text = fmt::format(
        "One layer at a time is quantized (weights rounded {}), everything else is float.",
        report.rounding == "nearest" ? "to nearest" : "by " + report.rounding);
  } else {
    text = fmt::format(
        "Everything is quantized ({}), which does a harm of {:.3g}; one layer at a time gets its "
        "float weights at more bits. Gain: how much of the harm that takes away.",
        report.base, report.base_harm.value_or(0));
  }
  text += report.detection
              ? " Harm: divergence of class and box distributions from the float model's, in nats "
                "per expected detection; 0 is none.\n"
              : " Harm: relative squared error of the outputs; 0 is none.\n";
  return text;
}

}  // namespace

std::vector<SensitivityLine> ranked_lines(const SensitivityReport& report) {
  std::vector<SensitivityLine> lines;
  std::map<std::tuple<std::string, bool, std::string>, size_t> index;
  for (const SensitivityRow& row : report.rows) {
    const auto [entry, is_new] = index.try_emplace({row.name, row.block, row.part}, lines.size());
    if (is_new) lines.push_back({row.name, row.block, row.part, row.weights, {}, nullptr});
    lines[entry->second].by_bits[row.bits] = &row;
  }
  for (SensitivityLine& line : lines) line.ranked = ranked_row(line, !report.base.empty());
  std::ranges::stable_sort(lines, [](const SensitivityLine& a, const SensitivityLine& b) {
    return a.ranked->impact() > b.ranked->impact();
  });
  return lines;
}

ordered_json sensitivity_json(const SensitivityReport& report) {
  ordered_json rows = ordered_json::array();
  for (const SensitivityRow& row : report.rows) {
    ordered_json json{{"name", row.name},       {"kind", row.block ? "block" : "conv"},
                      {"part", row.part},       {"bits", row.bits},
                      {"weights", row.weights}, {"harm", row.harm}};
    if (row.gain) json["gain"] = *row.gain;
    if (report.detection) {
      json["box_harm"] = row.box_harm;
      json["class_harm"] = row.class_harm;
    }
    for (size_t i = 0; i < row.errors.size() && i < report.error_names.size(); ++i) {
      json["errors"][report.error_names[i]] = row.errors[i];
    }
    if (row.fidelity) json["fidelity"] = *row.fidelity;
    if (row.map) json["mAP_50_95"] = *row.map;
    rows.push_back(std::move(json));
  }
  ordered_json json{{"model", report.model},
                    {"head", report.head},
                    {"image_size", report.image_size},
                    {"base", report.base.empty() ? "float" : report.base},
                    {"rounding", report.rounding},
                    {"images", report.images},
                    {"calibration_images", report.calibration_images},
                    {"labelled_images", report.labelled_images},
                    {"unit", report.detection ? "nats per expected detection"
                                              : "relative squared error of the outputs"},
                    {"base_harm", nullptr},
                    {"float_mAP_50_95", nullptr},
                    {"seconds", report.seconds},
                    {"measurements", std::move(rows)}};
  if (report.base_harm) json["base_harm"] = *report.base_harm;
  if (report.float_map) json["float_mAP_50_95"] = *report.float_map;
  return json;
}

std::string sensitivity_csv(const SensitivityReport& report) {
  std::string text = "name,kind,part,bits,weights,harm,gain,box_harm,class_harm";
  for (const std::string& name : report.error_names) {
    text += fmt::format(",{}", csv_field(fmt::format("error_{}", name)));
  }
  text += ",fidelity,mAP_50_95\n";
  for (const SensitivityRow& row : report.rows) {
    text +=
        fmt::format("{},{},{},{},{},{:.6g},{},{:.6g},{:.6g}", csv_field(row.name),
                    row.block ? "block" : "conv", row.part, row.bits, row.weights, row.harm,
                    row.gain ? fmt::format("{:.6g}", *row.gain) : "", row.box_harm, row.class_harm);
    for (const double error : row.errors) text += fmt::format(",{:.6g}", error);
    text += fmt::format(",{},{}\n", optional_number(row.fidelity), optional_number(row.map));
  }
  return text;
}

std::string sensitivity_markdown(const SensitivityReport& report) {
  std::string text = fmt::format("# Sensitivity of {}\n\n{}\n", report.model, explanation(report));
  text +=
      fmt::format("{} head, {} pixels, {} images", report.head, report.image_size, report.images);
  if (report.calibration_images > 0) {
    text += fmt::format("; activation ranges from {} images", report.calibration_images);
  }
  if (report.float_map) {
    text += fmt::format("; mAP from {} labelled images, where the float model has {:.4f}",
                        report.labelled_images, *report.float_map);
  }
  text += ".\n";
  const TableColumns columns(report);
  const std::vector<SensitivityLine> lines = ranked_lines(report);
  for (const bool block : {false, true}) {
    Table table(columns.header());
    bool any = false;
    for (const SensitivityLine& line : lines) {
      if (line.block != block) continue;
      table.add(columns.row(line));
      any = true;
    }
    if (any) text += fmt::format("\n## {}\n\n{}", block ? "Blocks" : "Convs", table.markdown());
  }
  return text;
}

std::vector<std::vector<std::string>> worst_table(const SensitivityReport& report, size_t count) {
  const TableColumns columns(report);
  std::vector<std::vector<std::string>> rows{columns.header()};
  for (const SensitivityLine& line : ranked_lines(report)) {
    if (rows.size() > count) break;
    if (!line.block) rows.push_back(columns.row(line));
  }
  return rows;
}

}  // namespace yoloquant::report
