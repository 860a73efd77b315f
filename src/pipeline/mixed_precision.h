#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "pipeline/harm_record.h"
#include "quant/config.h"
#include "quant/sensitivity.h"
#include "report/sensitivity.h"

// Bits by layer from measured sensitivities.
namespace yoloquant::pipeline {

// What the weights may take, or how much harm they may do; at most one of them.
struct BitBudget {
  std::optional<double> mean_bits;  // of a weight, as quant::mean_weight_bits counts
  std::optional<double> bytes;      // of all codes; scales and biases not counted
  std::optional<double> max_harm;   // predicted; see quant/output_harm.h for its unit

  bool given() const { return mean_bits || bytes || max_harm; }
  // Throws Error (usage) for two limits at once and for numbers that make no sense.
  void check() const;
};

// "1.6MB", "800 kB", "1.5MiB", "1600000": bytes. Error (usage) otherwise.
double parse_byte_size(const std::string& text);

struct MixedLayer {
  std::string conv;
  int64_t weights = 0;
  int bits = 0;        // 0: stays float
  double harm = 0;     // measured, at these bits
  bool fixed = false;  // by the user's rules, or no choice makes a difference
};

struct MixedPrecision {
  std::vector<MixedLayer> layers;  // every conv, in execution order
  double mean_bits = 0;
  int64_t bytes = 0;                      // of all codes
  double harm = 0;                        // sum over the layers: the prediction
  double gap = 0;                         // see quant::Allocation
  std::vector<report::BitPoint> best;     // corners of the trade-off
  std::vector<report::BitPoint> uniform;  // the same bits everywhere
};

// Harm of a conv's weights at some bits: the weight variants of convs with what they measured.
struct MeasuredBits {
  const quant::Variant* variant = nullptr;
  double harm = 0;
};

// The allocation of least harm within the budget (or the smallest within a harm). Convs whose bits
// a rule of `config` sets keep them, skipped ones stay float at 32 bits; both count.
MixedPrecision choose_bits(const graph::Graph& inference, const quant::QuantizationConfig& config,
                           const std::vector<MeasuredBits>& measured, const BitBudget& budget);

// `config` with a rule for each conv whose bits are not the scheme's.
quant::QuantizationConfig with_bits(const quant::QuantizationConfig& config,
                                    const MixedPrecision& mixed);

struct BitChoiceOptions {
  BitBudget budget;
  quant::ReplayOptions replay;
  uint64_t seed = 0;
  HarmRecord record;  // of this run before it was interrupted; kept up
};

// Measures the weights of the convs, rounded as the method of `config` begins, and chooses; for
// `quantize`. REQUIRES: the method is not "auto".
MixedPrecision measure_and_choose_bits(const graph::Graph& inference,
                                       const quant::QuantizationConfig& config,
                                       quant::CalibrationData& images,
                                       const BitChoiceOptions& options, Progress& progress);

// {"mean_bits", "bytes", "harm", "gap", "uniform": [...], "layers": [...]}
nlohmann::ordered_json mixed_json(const MixedPrecision& mixed);
// "mean 4.50 bits (1.3 MB of codes), predicted harm 0.8; 4 bits everywhere: 2.1"
std::string mixed_text(const MixedPrecision& mixed);

}  // namespace yoloquant::pipeline
