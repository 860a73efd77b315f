#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "graph/passes.h"
#include "onnx/writer.h"
#include "pipeline/calibration_list.h"
#include "pipeline/load_model.h"
#include "pipeline/mixed_precision.h"
#include "quant/budget.h"
#include "quant/config.h"
#include "report/sensitivity.h"

// The operation behind `sensitivity`. Needs LibTorch.
namespace yoloquant::pipeline {

struct SensitivityOptions {
  // Scales and ranges, rules (skipped convs are left out). With a method other than nearest all
  // convs are quantized by it at the scheme's bits, and the gain by raising single ones is
  // measured.
  quant::QuantizationConfig config;
  graph::Head head = graph::Head::kOneToMany;
  onnx::Layout layout = onnx::Layout::kQcdq;             // deploy has fewer convs
  CalibrationListOptions calibration;                    // ranges of activations, and methods
  int64_t images = 16;                                   // of these, on which layers are measured
  std::vector<int> bits{3, 4, 6, 8};                     // activations: those from 4
  quant::Rounding rounding = quant::Rounding::kNearest;  // of weights, with method nearest
  bool activations = true;
  bool blocks = true;
  bool fidelity = true;

  // Labelled images for mAP: the first `max_images` by id. "": none.
  std::filesystem::path coco_root;
  std::string split = "val2017";
  int64_t max_images = 8;

  BitBudget budget;  // when given, bits are chosen too

  quant::Effort effort = quant::Effort::kFast;  // of the method
  double seconds = std::numeric_limits<double>::infinity();
  uint64_t seed = 0;
  int64_t image_height = 0;  // pixels; 0: the model's own (640)
  int64_t image_width = 0;
  std::string device = "auto";
  int threads = 0;  // <= 0: all CPUs
};

struct SensitivityResult {
  report::SensitivityReport report;
  std::optional<MixedPrecision> mixed;
  std::vector<std::filesystem::path> files;
};

// Measures which layers hurt and writes OUT/sensitivity.{json,csv,md,svg}; with a budget also
// OUT/mixed.yaml (a configuration for `quantize`), OUT/mixed.json and OUT/mixed.svg. Files are
// written when all is measured. Throws Error (usage) for options that make no sense.
SensitivityResult measure_sensitivity(const LoadedModel& model, const std::filesystem::path& out,
                                      const SensitivityOptions& options,
                                      Progress& progress = Progress::none());

}  // namespace yoloquant::pipeline
