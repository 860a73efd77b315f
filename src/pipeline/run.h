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
#include "pipeline/train.h"
#include "report/summary.h"

namespace yoloquant::pipeline {

enum class QatWhen : uint8_t {
  kOff,
  kAuto,  // for schemes that lose more than a bound after training
  kOn,    // for all schemes
};
QatWhen parse_qat_when(std::string_view name);  // "off", "auto", "on"; Error (usage)
std::string_view qat_when_name(QatWhen when);

// Training of quantized models, each from the post-training quantization of its scheme.
struct RunQat {
  QatWhen when = QatWhen::kOff;
  double bound = 0.02;  // loss of mAP50-95 against the baseline above which kAuto trains
  // Data, schedule and `qat` (of which scheme, rules and start are set). Head, size, seed, device
  // and threads are those of the run.
  TrainOptions train;
  // The training's folder is the run's root, not RUN_ROOT/qat/SCHEME: with one scheme only.
  bool in_root = false;
  TrainEvents events;
};

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
  RunQat qat;
};

struct RunResult {
  std::filesystem::path root;
  report::RunSummary summary;
  std::vector<StageResult> stages;
};

// Baseline export, calibration list, and for each scheme quantization, clean-up, check and
// evaluation; then the comparison. What it leaves in the run root (formats: docs/formats.md):
//   onnx/NAME_VARIANT.onnx           the models; VARIANT is fp32, fp16 or a scheme
//   onnx/NAME_VARIANT.check.json     operators, inputs, outputs, problems
//   onnx/NAME_SCHEME.quantize.json   layers, and the comparison with the simulator
//   onnx/raw/                        quantized files before clean-up
//   qat/SCHEME/                      a training: see docs/training.md; its variant is SCHEME_qat
//   metrics/VARIANT/{metrics.json,detections.json,per_class.csv}
//   metrics/latency.json             all variants in turn
//   metrics/differences.json         mAP against the baseline, paired, with intervals
//   metrics/fidelity.json            detections against the baseline's, by class and image
//   calib.txt, config.yaml, environment.json, journal.jsonl, logs/run.log
//   summary.md, summary.json, summary.svg
// Throws Error when the root is in use or holds a run and `resume` is false. After any interruption
// a call with `resume` ends the same.
RunResult run_pipeline(const RunOptions& options, Progress& progress = Progress::none());

// The options in force, as YAML: what config.yaml holds. `root` and `resume` are not part of it.
std::string run_config_yaml(const RunOptions& options);

}  // namespace yoloquant::pipeline
