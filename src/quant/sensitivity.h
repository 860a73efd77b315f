#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "graph/graph.h"
#include "quant/calibrate.h"
#include "quant/calibration_data.h"
#include "quant/config.h"
#include "quant/output_harm.h"

// Which layer hurts: one conv or block is quantized, everything else stays as it is, and the
// outputs are compared with the float model's.
namespace yoloquant::quant {

enum class Part : uint8_t { kWeights, kActivations };
std::string_view part_name(Part part);  // "weights", "activations"

// One experiment: annotations that replace those of a graph.
struct Variant {
  std::string name;    // of a conv, or module path of a block
  bool block = false;  // all convs below a module path
  Part part = Part::kWeights;
  int bits = 0;         // 0: float
  int64_t weights = 0;  // in the convs that change
  std::map<std::string, graph::ConvQuantization> changes;
  TensorMap parameters = {};  // that replace those of the graph, by name
};

// Of the weights of a conv that is quantized by itself. What gptq (see round_alone) takes away
// differs by layer, so bits for a method that begins with it should be chosen by what it leaves.
enum class Rounding : uint8_t { kNearest, kGptq };
std::string_view rounding_name(Rounding rounding);  // "nearest", "gptq"

struct VariantOptions {
  std::vector<int> weight_bits{3, 4, 6, 8};  // 2 to 8
  std::vector<int> activation_bits{4, 6, 8};
  bool blocks = true;  // module paths with several convs below them, too
  CalibrationOptions calibration;
  uint64_t seed = 0;  // of the choice of ranges, and what gptq draws
  Rounding rounding = Rounding::kNearest;
};

// Every conv and block with each of these bits, weights before activations, each part in execution
// order, convs before blocks. Scales of weights rounded to nearest are chosen as `config` says;
// convs that it skips are left out. `images` is read for activation bits and by gptq.
std::vector<Variant> float_variants(const graph::Graph& inference, const QuantizationConfig& config,
                                    CalibrationData& images, const VariantOptions& options,
                                    Progress& progress = Progress::none());

// The other way round, on a graph whose weights are all quantized: each conv with its float weights
// at each of these bits, or float (0).
std::vector<Variant> raising_variants(const graph::Graph& inference,
                                      const QuantizationConfig& config,
                                      const std::vector<int>& weight_bits);

struct ReplayOptions {
  std::string device = "auto";
  int64_t images = 0;  // 0: all
};

// Gets each graph output of a variant: -1 for the float model, `variants.size()` for the unchanged
// `base`. The order is by image, then variant.
using OnOutput = std::function<void(int64_t image, int64_t variant, const Tensor& output)>;

struct ReplayResult {
  OutputHarm base;  // of `base` as it is; 0 when it is the float graph
  std::vector<OutputHarm> variants;
};

// Measures the variants of `base` (the float graph itself, or one that a method has quantized; same
// nodes) against `inference`. An image at a time: its values are kept, and of each variant only
// what is downstream of the change is run. `on_output` may be null; then only the watched values
// are computed.
ReplayResult replay(const graph::Graph& inference, const graph::Graph& base,
                    const std::vector<Variant>& variants, CalibrationData& images,
                    const ReplayOptions& options, const OnOutput& on_output = nullptr,
                    Progress& progress = Progress::none());

// Module paths with several convs below them, in execution order of the first; of several paths
// with the same convs the shortest. The convs are given.
std::vector<std::pair<std::string, std::vector<std::string>>> conv_blocks(
    const std::vector<std::string>& convs);

}  // namespace yoloquant::quant
