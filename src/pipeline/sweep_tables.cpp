#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "pipeline/sweep.h"
#include "report/markdown.h"

namespace yoloquant::pipeline {
namespace {

std::string text_of(const std::optional<double>& value) {
  return value ? fmt::format("{:.4f}", *value) : "";
}

std::vector<const SweepCellResult*> ranked(const SweepResult& result) {
  std::vector<const SweepCellResult*> cells;
  for (const SweepCellResult& cell : result.cells) cells.push_back(&cell);
  std::ranges::stable_sort(cells, [](const SweepCellResult* a, const SweepCellResult* b) {
    if (a->stage != b->stage) return a->stage < b->stage;
    return a->map.value_or(-1) > b->map.value_or(-1);
  });
  return cells;
}

}  // namespace

std::string sweep_markdown(const SweepSpec& spec, const SweepResult& result) {
  std::vector<std::string> header;
  if (spec.stages.size() > 1) header.emplace_back("stage");
  for (const std::string& name : choice_names(spec)) header.push_back(name);
  for (const char* column : {"mAP50-95", "mAP50", "seconds", "run"}) header.emplace_back(column);
  report::Table table(header);
  for (const SweepCellResult* cell : ranked(result)) {
    std::vector<std::string> row;
    if (spec.stages.size() > 1) row.push_back(std::to_string(cell->stage + 1));
    for (const auto& [option, value] : cell->cell.choice) row.push_back(report::escape_cell(value));
    row.push_back(text_of(cell->map));
    row.push_back(text_of(cell->map50));
    row.push_back(fmt::format("{:.0f}", cell->seconds));
    row.push_back(
        cell->error.empty()
            ? report::escape_cell(cell->folder.parent_path().filename() / cell->folder.filename())
            : fmt::format("failed: {}", report::escape_cell(cell->error)));
    table.add(row);
  }
  return fmt::format("# Sweep of `{}`: {} runs, {} failed\n\n{}", spec.command, result.cells.size(),
                     result.failed, table.markdown());
}

std::string sweep_csv(const SweepSpec& spec, const SweepResult& result) {
  std::string text = "stage";
  for (const std::string& name : choice_names(spec)) text += fmt::format(",{}", csv_field(name));
  text += ",mAP50-95,mAP50,seconds,folder,error\n";
  for (const SweepCellResult* cell : ranked(result)) {
    text += std::to_string(cell->stage + 1);
    for (const auto& [option, value] : cell->cell.choice)
      text += fmt::format(",{}", csv_field(value));
    text += fmt::format(",{},{},{:.1f},{},{}\n", text_of(cell->map), text_of(cell->map50),
                        cell->seconds, csv_field(cell->folder.string()), csv_field(cell->error));
  }
  return text;
}

nlohmann::ordered_json sweep_json(const SweepSpec& spec, const SweepResult& result) {
  auto cells = nlohmann::ordered_json::array();
  for (const SweepCellResult* cell : ranked(result)) {
    nlohmann::ordered_json options;
    for (const auto& [option, value] : cell->cell.choice) options[option] = value;
    nlohmann::ordered_json row{{"stage", cell->stage + 1},
                               {"name", cell->cell.name},
                               {"options", std::move(options)},
                               {"mAP_50_95", nullptr},
                               {"mAP_50", nullptr},
                               {"seconds", cell->seconds},
                               {"folder", cell->folder.string()},
                               {"error", cell->error}};
    if (cell->map) row["mAP_50_95"] = *cell->map;
    if (cell->map50) row["mAP_50"] = *cell->map50;
    cells.push_back(std::move(row));
  }
  return {{"command", spec.command}, {"failed", result.failed}, {"cells", std::move(cells)}};
}

}  // namespace yoloquant::pipeline
