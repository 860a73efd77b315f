#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/sweep_spec.h"

// Runs one command for every cell of a grid, each as a process of its own.
namespace yoloquant::pipeline {

struct SweepRunOptions {
  std::filesystem::path program;  // that has the commands; "": this one
  bool resume = false;
  int threads = 0;  // of each cell; 0: all CPUs
  // Runs a command line with its output appended to a file, and throws Error when it fails. For
  // tests; null: launch_ranks.
  std::function<void(const std::vector<std::string>& command, const std::string& log)> launch =
      nullptr;
  std::function<void(const std::string&)> say = nullptr;  // a line when a cell has ended
};

struct SweepCellResult {
  int64_t stage = 0;
  SweepCell cell;
  std::filesystem::path folder;  // of its run
  std::optional<double> map;     // mAP50-95: of the best epoch, or of the best quantized file
  std::optional<double> map50;   // of the same
  double seconds = 0;
  std::string error;  // "" when it went well
};

struct SweepResult {
  std::vector<SweepCellResult> cells;  // in the order they ran
  std::vector<std::filesystem::path> files;
  int64_t failed = 0;
};

// OUT/STAGE/CELL.yaml is a cell's configuration, OUT/STAGE/CELL.log its output, OUT/STAGE/CELL/ its
// run; OUT/sweep.{md,csv,json}
// has a row a cell and is written anew after each. A cell that fails does not end the sweep. With
// `resume` cells that are done are not repeated, and one that was interrupted goes on where its
// command can. Throws Error when OUT holds another sweep.
SweepResult run_sweep(const SweepSpec& spec, const std::filesystem::path& out,
                      const SweepRunOptions& options);

// The cells, best first within a stage, those without a result last.
std::string sweep_markdown(const SweepSpec& spec, const SweepResult& result);
std::string sweep_csv(const SweepSpec& spec, const SweepResult& result);
nlohmann::ordered_json sweep_json(const SweepSpec& spec, const SweepResult& result);

}  // namespace yoloquant::pipeline
