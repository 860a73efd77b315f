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

// A quantized model of a run.
struct RunVariant {
  std::string name;  // of its row and files, such as "w4a8"
  quant::QuantizationConfig config;
  bool trainable = true;  // RunQat may train it, unless it follows a preset
};

// A variant for each scheme ("w4a8") with all else from `config`, called NAME_SUFFIX with NAME the
// scheme's; one that is repeated counts once. Throws Error (usage) for what is no scheme.
std::vector<RunVariant> scheme_variants(const std::vector<std::string>& schemes,
                                        const quant::QuantizationConfig& config = {},
                                        const std::string& suffix = "");

enum class QatWhen : uint8_t {
  kOff,
  kAuto,  // for variants that lose more than a bound after training
  kOn,    // for all variants
};
QatWhen parse_qat_when(std::string_view name);  // "off", "auto", "on"; Error (usage)
std::string_view qat_when_name(QatWhen when);

// Training of quantized models, each from the post-training quantization of its variant.
struct RunQat {
  QatWhen when = QatWhen::kOff;
  double bound = 0.02;  // loss of mAP50-95 against the baseline above which kAuto trains
  // Data, schedule and `qat` (of which scheme, rules and start are set). Head, size, seed, device
  // and threads are those of the run.
  TrainOptions train;
  // The training's folder is the run's root, not RUN_ROOT/qat/VARIANT: with one variant only.
  bool in_root = false;
  TrainEvents events;
};

// Validation images with the detections of models side by side.
struct RunPictures {
  int64_t images = 0;                 // the first so many; 0: no pictures
  std::vector<std::string> variants;  // beside the baseline, as far as the run has them; empty: all
};

struct RunOptions {
  std::string model;  // as for load_model
  LoadOptions load;
  std::string name;            // of the run; "": the model's stem
  std::filesystem::path root;  // RUN_ROOT; empty: ./tmp/NAME/RUN-ID
  bool resume = false;         // go on in `root`; finished stages are skipped

  std::vector<RunVariant> variants;
  ExportOptions baseline;    // head and image size hold for all variants
  QuantizeOptions quantize;  // config, head and image size are replaced
  EvalOptions eval;          // head and image size are replaced
  bool export_fp16 = false;  // an FP16 baseline beside the FP32 one
  RunQat qat;
  RunPictures pictures;
};

struct RunResult {
  std::filesystem::path root;
  report::RunSummary summary;
  std::vector<StageResult> stages;
};

// Baseline export, calibration list, and for each variant quantization, clean-up, check and
// evaluation; then the comparison. What it leaves in the run root (formats: docs/formats.md):
//   onnx/NAME_VARIANT.onnx           the models; VARIANT is fp32, fp16 or a name
//   onnx/NAME_VARIANT.check.json     operators, inputs, outputs, problems
//   onnx/NAME_VARIANT.quantize.json  layers, and the comparison with the simulator
//   onnx/raw/                        quantized files before clean-up
//   qat/VARIANT/                     a training: see docs/training.md; makes VARIANT_qat
//   metrics/VARIANT/{metrics.json,detections.json,per_class.csv}
//   metrics/latency.json             all variants in turn
//   metrics/differences.json         mAP against the baseline, and of trained ones against their
//                                    start, paired, with intervals
//   metrics/fidelity.json            detections against the baseline's, by class and image
//   pictures.jpg                     detections side by side, when asked for
//   calib.txt, config.yaml, environment.json, journal.jsonl, logs/run.log
//   summary.md, summary.json, summary.svg
// Throws Error when the root is in use or holds a run and `resume` is false. After any interruption
// a call with `resume` ends the same.
RunResult run_pipeline(const RunOptions& options, Progress& progress = Progress::none());

// The options in force, as YAML: what config.yaml holds. `root` and `resume` are not part of it.
std::string run_config_yaml(const RunOptions& options);

}  // namespace yoloquant::pipeline
