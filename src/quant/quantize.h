#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "graph/graph.h"
#include "graph/passes.h"
#include "quant/budget.h"
#include "quant/calibrate.h"
#include "quant/calibration_data.h"
#include "quant/config.h"
#include "quant/method_state.h"

// Post-training quantization of a whole graph.
namespace yoloquant::quant {

struct InputReport {
  int bits = 0;
  float min = 0;  // what calibration saw
  float max = 0;
  float low = 0;  // what the codes reach; beyond it values are clipped
  float high = 0;
  float scale = 0;
  int32_t zero_point = 0;
};

struct LayerReport {
  std::string conv;
  int64_t weights = 0;  // how many
  int bits = 0;         // of the weight; 0: stays float
  float scale_min = 0;  // over the channels
  float scale_max = 0;
  double sqnr_db = 0;     // 10 log10(sum w^2 / sum (w - q)^2) against the float graph's weights
  bool lossless = false;  // q equals w; sqnr_db is then infinite
  std::optional<InputReport> input;
};

struct QuantizationResult {
  graph::Graph graph;  // inference graph, annotated
  QuantizationConfig config;
  std::vector<LayerReport> layers;  // every conv, in execution order
};

struct QuantizeOptions {
  CalibrationOptions calibration;
  Effort effort = Effort::kFast;
  double seconds = std::numeric_limits<double>::infinity();  // that methods may take
  MethodState* state = nullptr;  // where methods keep work in progress, and find it again
  uint64_t seed = 0;
  // Of quantize_model: whether RepVGGDW's branches become one conv. The reference preset keeps
  // them.
  graph::Branches branches = graph::Branches::kKeep;
};

// Quantizes an inference graph (batch norms folded). `images` is read when activations are
// quantized or a method asks for it. Throws Error (usage) for rules that match nothing and unknown
// methods, Error naming the conv for weights or activations that are not finite.
QuantizationResult quantize(const graph::Graph& inference, const QuantizationConfig& config,
                            CalibrationData& images, const QuantizeOptions& options = {},
                            Progress& progress = Progress::none());

// From a training graph (or an inference graph): keeps `head`, folds, and quantizes; follows
// config.preset.
QuantizationResult quantize_model(const graph::Graph& model, graph::Head head,
                                  const QuantizationConfig& config, CalibrationData& images,
                                  const QuantizeOptions& options = {},
                                  Progress& progress = Progress::none());

// Compares an annotated graph with its float original, layer by layer. `seen` may be empty.
std::vector<LayerReport> report_layers(const graph::Graph& annotated, const graph::Graph& reference,
                                       const ActivationStatistics& seen);

// Mean bits of a quantized or float (32) conv weight.
double mean_weight_bits(const std::vector<LayerReport>& layers);

// The layers as rows of text, the first being the header.
std::vector<std::vector<std::string>> layer_table(const std::vector<LayerReport>& layers);

}  // namespace yoloquant::quant
