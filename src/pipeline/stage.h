#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/progress.h"
#include "pipeline/run_root.h"

namespace yoloquant::pipeline {

// One step of a run. It may only read what it declares and writes its outputs atomically, so a run
// that was cut off anywhere goes on with the first stage that is not journaled.
struct Stage {
  std::string name;                            // unique in the run: "quantize w8a8"
  nlohmann::ordered_json options;              // everything its result depends on besides files
  std::vector<std::filesystem::path> inputs;   // files, hashed into the key
  std::vector<std::filesystem::path> outputs;  // below the run root
  std::function<void(Progress&)> run;
};

struct StageResult {
  std::string name;
  double seconds = 0;  // of the run that made the outputs
  bool skipped = false;
};

// SHA-256 over the code version, the name, the options and the inputs' contents.
std::string stage_key(const Stage& stage);

// Runs the stage unless the journal has it with this key and the outputs are unchanged. An Error
// gets the stage's name in front.
StageResult run_stage(RunRoot& root, const Stage& stage, Progress& progress);

}  // namespace yoloquant::pipeline
