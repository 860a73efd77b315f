#include "pipeline/sweep.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/launcher.h"
#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "pipeline/stage.h"
#include "report/results_csv.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Figures {
  std::optional<double> map;
  std::optional<double> map50;
};

// Below a cell's folder.
std::string result_file(const SweepSpec& spec) {
  return spec.command == "run" ? "summary.json" : "results.csv";
}

// Of the epoch whose weights were kept: not the highest of all where bits fall on the way.
Figures best_epoch(const fs::path& file) {
  const fs::path weights = file.parent_path() / "weights" / "best.pt";
  std::optional<int64_t> kept;  // from 0
  if (fs::exists(weights))
    kept = checkpoint::read(weights, {.limits = {}, .optimizer = false}).epoch;
  Figures best;
  for (const report::EpochRecord& epoch : report::read_results_csv(file)) {
    if (!epoch.map) continue;
    if (kept && epoch.epoch == *kept + 1) return {epoch.map, epoch.map50};
    if (!best.map || *epoch.map > *best.map) best = {epoch.map, epoch.map50};
  }
  return best;
}

// Of the quantized files of a run, which have a method.
Figures best_variant(const fs::path& file) {
  Figures best;
  try {
    const auto summary = nlohmann::json::parse(read_file(file));
    for (const nlohmann::json& variant : summary.at("variants")) {
      const double map = variant.at("mAP_50_95").get<double>();
      if (variant.at("method").get<std::string>().empty() || map < 0) continue;
      if (!best.map || map > *best.map) best = {map, variant.at("mAP_50").get<double>()};
    }
  } catch (const nlohmann::json::exception& error) {
    fail("{}: no summary of a run: {}", file.string(), error.what());
  }
  return best;
}

Figures figures_of(const SweepSpec& spec, const fs::path& folder) {
  const fs::path file = folder / result_file(spec);
  return spec.command == "run" ? best_variant(file) : best_epoch(file);
}

// What an interrupted run of the command leaves and goes on from.
bool can_go_on(const SweepSpec& spec, const fs::path& folder) {
  return fs::exists(folder / (spec.command == "run" ? "journal.jsonl" : "weights/last.pt"));
}

class Sweep {
 public:
  Sweep(const SweepSpec& spec, const fs::path& out, const SweepRunOptions& options)
      : spec_(spec), options_(options), root_(out, mode(out, options)) {
    if (options_.program.empty()) options_.program = fs::read_symlink("/proc/self/exe");
    if (!options_.launch) {
      options_.launch = [](const std::vector<std::string>& command, const std::string& log) {
        launch_ranks({.command = command, .processes = 1, .log = log});
      };
    }
  }

  SweepResult run() {
    std::vector<SweepCell> cells = sweep_cells(spec_);
    for (size_t stage = 0; stage < spec_.stages.size(); ++stage) {
      if (stage > 0) cells = kept(cells, spec_.stages[stage].keep);
      total_ = static_cast<int64_t>(cells.size());
      done_ = 0;
      began_ = Clock::now();
      results_.clear();
      for (const SweepCell& cell : cells) {
        run_cell(stage, cell);
        write_tables();
      }
    }
    return std::move(result_);
  }

 private:
  static RunMode mode(const fs::path& out, const SweepRunOptions& options) {
    const bool begun = fs::exists(out / "journal.jsonl");
    if (begun && !options.resume) {
      fail_usage("{}: holds a sweep already: go on with it (--resume), or use another folder",
                 out.string());
    }
    return begun ? RunMode::kResume : RunMode::kNew;
  }

  std::string stage_folder(size_t stage) const {
    return spec_.stages.size() == 1 ? "cells" : fmt::format("stage{}", stage + 1);
  }

  // The best cells of the stage before; all of those that went well when `keep` is 0.
  std::vector<SweepCell> kept(const std::vector<SweepCell>& cells, int64_t keep) const {
    std::vector<std::pair<double, SweepCell>> ranked;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (results_[i].map) ranked.emplace_back(*results_[i].map, cells[i]);
    }
    if (ranked.empty()) fail("no cell of the stage before has a result to go on with");
    std::ranges::stable_sort(ranked, std::ranges::greater{}, &std::pair<double, SweepCell>::first);
    if (keep > 0 && static_cast<size_t>(keep) < ranked.size()) {
      ranked.resize(static_cast<size_t>(keep));
    }
    std::vector<SweepCell> best;
    for (auto& [map, cell] : ranked) best.push_back(std::move(cell));
    return best;
  }

  void run_cell(size_t number, const SweepCell& cell) {
    check_interrupt();
    const SweepStage& stage = spec_.stages[number];
    const std::string below = stage_folder(number) + "/" + cell.name;
    SweepCellResult result{.stage = static_cast<int64_t>(number),
                           .cell = cell,
                           .folder = root_.path() / below,
                           .map = std::nullopt,
                           .map50 = std::nullopt,
                           .seconds = 0,
                           .error = ""};
    const std::string config = cell_config(spec_, stage, cell);
    write_file(root_.path() / (below + ".yaml"), config);
    Stage work;
    work.name = below;
    work.options = {{"command", spec_.command}, {"config", config}};
    work.outputs = {below + "/" + result_file(spec_)};
    work.run = [&](Progress&) { launch(below); };
    try {
      result.seconds = run_stage(root_, work, Progress::none()).seconds;
      const Figures figures = figures_of(spec_, result.folder);
      result.map = figures.map;
      result.map50 = figures.map50;
      if (!result.map) result.error = "it has no mAP";
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      result.error = error.what();
    }
    if (!result.error.empty()) ++result_.failed;
    ++done_;
    say(result);
    results_.push_back(result);
    result_.cells.push_back(std::move(result));
  }

  void launch(const std::string& below) const {
    const fs::path folder = root_.path() / below;
    std::vector<std::string> command{options_.program.string(),
                                     spec_.command,
                                     "--config",
                                     folder.string() + ".yaml",
                                     "--out",
                                     folder.string(),
                                     "--threads",
                                     std::to_string(options_.threads)};
    if (can_go_on(spec_, folder)) {
      command.emplace_back("--resume");
    } else {
      fs::remove_all(folder);  // what a run that came to nothing has left
    }
    options_.launch(command, folder.string() + ".log");
  }

  void say(const SweepCellResult& result) {
    if (!options_.say) return;
    const std::string what =
        result.error.empty() ? fmt::format("mAP50-95 {:.4f}, {:.0f} s", *result.map, result.seconds)
                             : "failed: " + result.error;
    const double spent = std::chrono::duration<double>(Clock::now() - began_).count();
    const double left = spent / static_cast<double>(done_) * static_cast<double>(total_ - done_);
    options_.say(fmt::format("[{}/{}] {}: {}{}", done_, total_, result.cell.name, what,
                             done_ < total_ ? fmt::format("; about {:.0f} s left", left) : ""));
  }

  void write_tables() {
    const fs::path& out = root_.path();
    write_file(out / "sweep.md", sweep_markdown(spec_, result_));
    write_file(out / "sweep.csv", sweep_csv(spec_, result_));
    write_file(out / "sweep.json", sweep_json(spec_, result_).dump(2) + "\n");
    result_.files = {out / "sweep.md", out / "sweep.csv", out / "sweep.json"};
  }

  const SweepSpec& spec_;
  SweepRunOptions options_;
  RunRoot root_;
  SweepResult result_;
  std::vector<SweepCellResult> results_;  // of the present stage
  Clock::time_point began_;
  int64_t total_ = 0;
  int64_t done_ = 0;
};

}  // namespace

SweepResult run_sweep(const SweepSpec& spec, const std::filesystem::path& out,
                      const SweepRunOptions& options) {
  return Sweep(spec, out, options).run();
}

}  // namespace yoloquant::pipeline
