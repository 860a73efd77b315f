#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "graph/passes.h"
#include "onnx/check.h"
#include "onnx/writer.h"
#include "pipeline/calibration_list.h"
#include "pipeline/load_model.h"
#include "pipeline/mixed_precision.h"
#include "quant/budget.h"
#include "quant/config.h"
#include "quant/quantize.h"

// The operation behind `quantize`. This header and run.h are the ones whose functions need
// LibTorch.
namespace yoloquant::pipeline {

// Which heads a model has while it is quantized.
enum class TunedHeads : uint8_t {
  kExported,  // the one that is written
  kBoth,      // both, so that what they share serves both; then one is written
};
TunedHeads parse_tuned_heads(std::string_view name);  // "exported", "both"; Error (usage)
std::string_view tuned_heads_name(TunedHeads heads);

struct QuantizeOptions {
  // Scheme, preset, method, defaults and layer rules. Read from YAML with quant::read_config, or
  // set `config.scheme = quant::parse_scheme("w8a8")` and so on.
  quant::QuantizationConfig config;
  graph::Head head = graph::Head::kOneToMany;
  TunedHeads tuned_heads = TunedHeads::kExported;

  // Bits of weights by layer within a budget, chosen by sensitivity before quantization; rules that
  // set bits keep the upper hand.
  BitBudget bit_budget;
  int64_t sensitivity_images = 16;  // of the calibration images, to measure on; 0: all

  CalibrationListOptions calibration;  // read when activations are quantized or a method asks
  quant::Effort effort = quant::Effort::kFast;               // of methods beyond nearest
  double seconds = std::numeric_limits<double>::infinity();  // that methods may take
  uint64_t seed = 0;                                         // of methods
  // Go on from OUT.state, which methods that take long write as they go and which an interruption
  // leaves behind.
  bool resume = false;
  // File for the result as training takes it up (quant::write_annotations), of the heads that were
  // tuned; "": none.
  std::filesystem::path annotations;

  onnx::Layout layout = onnx::Layout::kQcdq;
  int opset = 13;                                         // raised to what the layout needs
  onnx::Precision precision = onnx::Precision::kFloat32;  // of what stays float
  bool dynamic = false;
  int64_t image_height = 0;  // pixels; 0: the model's own (640)
  int64_t image_width = 0;

  std::string device = "auto";  // of calibration and methods: "auto", "cpu", "cuda:0"
  int threads = 0;              // <= 0: all CPUs
  int batch = 1;                // of calibration

  // Images on which the written file is compared with the simulator; 0 skips the comparison.
  int64_t verify_images = 2;
};

// How far two computations of the same outputs are apart, over all verification images.
struct OutputDifference {
  double max_box_pixels = 0;
  double mean_box_pixels = 0;
  double max_score = 0;
  double mean_score = 0;
  // sqrt(sum (a - b)^2 / sum f^2) with f the float model's outputs. Boxes and scores apart, since
  // boxes would drown the scores.
  double relative_box = 0;
  double relative_score = 0;
};

// The written file against the simulator (exec::Executor on the annotated graph).
struct Verification {
  int64_t images = 0;  // 0: not verified
  // Each quantized conv by itself, both given the input that ONNX Runtime has for it: the largest
  // relative L2 difference of outputs, and where. Only for files that compute in float32.
  int64_t convs = 0;
  double worst_conv = 0;
  std::string worst_conv_name;
  double bound_conv = 0;
  // Whole model.
  OutputDifference optimized;     // ONNX Runtime with graph optimizations - simulator
  OutputDifference unoptimized;   // ONNX Runtime without - simulator
  OutputDifference quantization;  // simulator - float model: the scale of what is tolerated
  double bound_box = 0;           // that relative_box and relative_score had to keep
  double bound_score = 0;
  std::string provider;  // of ONNX Runtime
};

struct QuantizeResult {
  std::filesystem::path path;
  std::string scheme;  // "w8a8"
  std::string method;  // what was done, "auto" resolved
  std::vector<quant::LayerReport> layers;
  onnx::CheckReport check;
  Verification verification;
  std::optional<MixedPrecision> mixed;  // the bits that were chosen, with a budget
  int64_t calibration_images = 0;
  double seconds = 0;                 // of calibration and methods
  std::vector<std::string> warnings;  // for the user
};

// Quantizes a model and writes the QCDQ file to `out`, atomically and only when it passes
// onnx::check and the comparison with the simulator. Throws Error (usage) for options that make no
// sense, Error otherwise; `out` is then as it was before.
QuantizeResult quantize_onnx(const LoadedModel& model, const std::filesystem::path& out,
                             const QuantizeOptions& options, Progress& progress = Progress::none());

// Throws Error (usage) when the layout cannot hold what the options ask for.
void check_layout(const QuantizeOptions& options);

// {"images", "provider", "optimized": {"max_box_pixels", ...}, "unoptimized", "quantization", ...}
nlohmann::ordered_json verification_json(const Verification& verification);

// [{"conv", "weights", "bits", "scale_min", "scale_max", "sqnr_db", "lossless", "input": {...}}]; a
// lossless layer's sqnr_db is null.
nlohmann::ordered_json layers_json(const std::vector<quant::LayerReport>& layers);

}  // namespace yoloquant::pipeline
