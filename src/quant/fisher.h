#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "base/progress.h"
#include "graph/graph.h"
#include "quant/activation_range.h"
#include "quant/calibration_data.h"

// Which values of an activation, and which positions of a map, must be kept exact, by what errors
// do to the detections.
namespace yoloquant::quant {

// Values of a graph by id, with the range that their density is to cover.
using FisherRanges = std::map<graph::ValueId, ActivationRange>;
using FisherDensities = std::map<graph::ValueId, ValueDensity>;

struct FisherOptions {
  std::string device = "auto";
  int64_t first = 0;  // images [first, last)
  int64_t last = 0;
  uint64_t seed = 0;
  bool bfloat16 = false;  // of the passes, where that is faster; weights are as good
};

// Runs the float graph forward and back, an image at a time, and adds up for each value x_i of an
// activation the diagonal g_i^2 of the Fisher information of the outputs, sampled by one random
// probe an image (see harm_probe): the expected harm of independent errors e_i is sum g_i^2 e_i^2
// / 2. Weights are means over the images. What lies outside of the range counts at its end. Values
// that no gradient reaches are left out.
FisherDensities fisher_densities(const graph::Graph& graph, const FisherRanges& ranges,
                                 CalibrationData& images, const FisherOptions& options,
                                 Progress& progress = Progress::none());

// By conv: for each image and output position [N, H * W] the sum of g_i^2 over the channels there,
// as bfloat16.
using PositionWeights = std::map<std::string, at::Tensor>;

// The same gradients at the outputs of convs: the expected harm of an error of the same size in all
// channels at one position, up to a factor. Convs that no gradient reaches are left out.
PositionWeights position_weights(const graph::Graph& graph, CalibrationData& images,
                                 const FisherOptions& options,
                                 Progress& progress = Progress::none());

}  // namespace yoloquant::quant
