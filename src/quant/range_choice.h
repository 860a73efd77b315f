#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "graph/graph.h"
#include "quant/activation_range.h"
#include "quant/calibrate.h"
#include "quant/calibration_data.h"
#include "quant/config.h"

// Ranges of activations by what they do to the detections, layer by layer.
namespace yoloquant::quant {

// An activation whose range is to be chosen.
struct RangeSite {
  std::string key;  // of its statistics
  graph::ValueId value = 0;
  int bits = 8;
  bool symmetric = false;
};

struct RangeChoiceOptions {
  CalibrationOptions calibration;
  uint64_t seed = 0;
};

// With fewer images nothing can be held out: activation_range() has what stands in.
inline constexpr int64_t kLeastImagesToChooseRanges = 8;
// How many of the first images propose ranges. The others choose.
int64_t images_that_propose(int64_t images);

// For each site the range, of minmax, mean_minmax, percentile, mse and the range of least
// Fisher-weighted squared error (see fisher_densities) with and without a margin, that has the
// least Fisher-weighted squared error on images that had no part in proposing it. `statistics`: of
// the images that propose, with histograms. Sites that no gradient reaches are left out.
std::map<std::string, ActivationRange> choose_ranges(const graph::Graph& graph,
                                                     const std::vector<RangeSite>& sites,
                                                     const ActivationStatistics& statistics,
                                                     CalibrationData& images,
                                                     const RangeChoiceOptions& options,
                                                     Progress& progress = Progress::none());

struct ConvRanges {
  QuantizationConfig config;  // with a fixed range for each conv whose range was to be `chosen`
  // What all images make of the inputs that are quantized, in the float graph; empty when nothing
  // was chosen.
  ActivationStatistics seen;
};

// Has the last word on the range of one conv.
void set_fixed_range(QuantizationConfig& config, const std::string& conv,
                     const ActivationRange& range);

// Chooses for the inputs of the convs of the float graph. A configuration that leaves nothing to
// choose, or too few images, gives `config` itself.
ConvRanges choose_conv_ranges(const graph::Graph& inference, const QuantizationConfig& config,
                              CalibrationData& images, const RangeChoiceOptions& options,
                              Progress& progress = Progress::none());

}  // namespace yoloquant::quant
