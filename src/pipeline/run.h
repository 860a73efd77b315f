#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "pipeline/evaluate.h"
#include "pipeline/export.h"
#include "pipeline/quantize.h"
#include "pipeline/stage.h"
#include "report/summary.h"

namespace yoloquant::pipeline {

struct RunOptions {
  std::string model;  // as for load_model
  LoadOptions load;
  std::string name;            // of the run; "": the model's stem
  std::filesystem::path root;  // RUN_ROOT; empty: ./tmp/NAME/RUN-ID
  bool resume = false;         // go on in `root`; finished stages are skipped

  std::vector<std::string> schemes{"w8a16", "w8a8", "w4a16", "w4a8"};
  ExportOptions baseline;    // head and image size hold for all variants
  QuantizeOptions quantize;  // config.scheme, head and image size are replaced
  EvalOptions eval;          // head and image size are replaced
  bool export_fp16 = false;  // an FP16 baseline beside the FP32 one
};

struct RunResult {
  std::filesystem::path root;
  report::RunSummary summary;
  std::vector<StageResult> stages;
};

// Baseline export, calibration list, and for each scheme quantization, check and evaluation; then
// the comparison. What it leaves in the run root:
//   onnx/NAME_fp32.onnx, onnx/NAME_SCHEME.onnx   the models
//   onnx/*.json                                  checks, layers and verification of each
//   metrics/VARIANT/{metrics.json,detections.json,per_class.csv}, metrics/latency.json,
//   metrics/differences.json                     paired with the baseline, with intervals
//   calib.txt, config.yaml, environment.json, journal.jsonl, logs/run.log
//   summary.md, summary.json, map.svg
// Throws Error when the root is in use or holds a run and `resume` is false. After any interruption
// a call with `resume` ends the same.
RunResult run_pipeline(const RunOptions& options, Progress& progress = Progress::none());

// The options in force, as YAML: what config.yaml holds. `root` and `resume` are not part of it.
std::string run_config_yaml(const RunOptions& options);

}  // namespace yoloquant::pipeline
