#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/run.h"

// Internal to the layer: which files a run makes.
namespace yoloquant::pipeline {

// One model of the run. Paths are below the run root.
struct PlannedVariant {
  std::string name;                                 // "fp32", "fp16", "w8a8"
  std::optional<quant::QuantizationConfig> config;  // absent: a baseline
  onnx::Precision precision = onnx::Precision::kFloat32;
  std::filesystem::path onnx;
  std::filesystem::path check;
  std::filesystem::path raw;       // of a quantized one: before clean-up
  std::filesystem::path quantize;  // of a quantized one: report
  std::filesystem::path clean;     // of a quantized one: report
  std::filesystem::path start;     // what a training starts from; empty: none is meant
  std::string source;              // of a trained one: the variant that it was before
  std::filesystem::path training;  // of a trained one: folder; empty: the run's own
  std::filesystem::path metrics;   // folder

  std::filesystem::path metrics_json() const { return metrics / "metrics.json"; }
  std::filesystem::path detections() const { return metrics / "detections.json"; }
  std::filesystem::path per_class() const { return metrics / "per_class.csv"; }
};

struct RunPlan {
  RunOptions options;  // with what depends on each other settled
  std::string name;
  std::filesystem::path root;
  std::vector<PlannedVariant> variants;                   // the FP32 baseline first
  std::vector<std::filesystem::path> calibration_images;  // in the list's order; may be empty
  std::filesystem::path annotations;                      // of the data set
  std::filesystem::path image_folder;

  static constexpr const char* kCalibration = "calib.txt";
  static constexpr const char* kLatency = "metrics/latency.json";
  static constexpr const char* kDifferences = "metrics/differences.json";
  static constexpr const char* kFidelity = "metrics/fidelity.json";
  static constexpr const char* kPictures = "pictures.jpg";
};

// Throws Error (usage) for options that make no sense together, before anything is written.
RunPlan plan_run(const RunOptions& options);

// The variant that is trained from what post-training quantization made of `source`.
PlannedVariant plan_training(const RunPlan& plan, const PlannedVariant& source);

}  // namespace yoloquant::pipeline
