#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What a sweep varies. Not a file of its own: the YAML that `sweep` reads.
namespace yoloquant::pipeline {

// Options of a command by their names in configuration files, values as YAML in one line.
using SweepOptions = std::vector<std::pair<std::string, std::string>>;

// All of a stage's cells run before the next begins, with the stage's options instead of the
// sweep's: a larger model, say.
struct SweepStage {
  SweepOptions options;
  int64_t keep = 0;  // only the best so many cells of the stage before; 0: all
};

//   command: train
//   options: {model: yolov10n.yaml, coco: data, epochs: 20}
//   cases:                                       # may be left out when there is a grid
//     plain: {}
//     stable: {freezing: true, dampening: 1e-4}
//   grid:                                        # may be left out when there are cases
//     scheme: [w4a16, w4a8]
//     lr0: [0.01, 0.003]
//   stages:                                      # may be left out: one stage
//     - options: {model: yolov10n.yaml}
//     - options: {model: yolov10s.yaml}
//       keep: 1
struct SweepSpec {
  std::string command;
  SweepOptions options;
  std::vector<std::pair<std::string, SweepOptions>> cases;  // options that change together, named
  std::vector<std::pair<std::string, std::vector<std::string>>> grid;
  std::vector<SweepStage> stages;  // at least one
};

// Commands whose runs have a result to compare.
inline constexpr std::string_view kSweepCommands[] = {"train", "qat", "run"};

// Throws Error (usage) with `where` and the line for what makes no sense: an unknown command or
// key, nothing to vary, an option that the sweep sets itself (out, resume), more than 10000 cells.
SweepSpec parse_sweep(std::string_view yaml, const std::string& where);

// A case at a point of the grid.
struct SweepCell {
  std::string name;      // "plain,lr0=0.01,scheme=w4a16", fit for a folder; unique in the sweep
  SweepOptions choice;   // ("case", its name) if there are cases, a value for each of the grid
  SweepOptions options;  // what the command is told of them
};

// The names in every cell's choice, in order.
std::vector<std::string> choice_names(const SweepSpec& spec);

// The product of cases and grid, the last option varying fastest.
std::vector<SweepCell> sweep_cells(const SweepSpec& spec);

// The configuration file of a cell in a stage: the sweep's options, then the stage's, then the
// cell's own; later ones win.
std::string cell_config(const SweepSpec& spec, const SweepStage& stage, const SweepCell& cell);

}  // namespace yoloquant::pipeline
