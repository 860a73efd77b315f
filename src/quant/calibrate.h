#pragma once

#include <map>
#include <string>

#include "base/progress.h"
#include "graph/graph.h"
#include "quant/calibration_data.h"
#include "quant/config.h"
#include "quant/observer.h"

// Ranges of activations from images.
namespace yoloquant::quant {

struct CalibrationOptions {
  int batch = 1;  // images at a time; the result does not depend on it beyond float rounding
  std::string device = "auto";  // of the executor
  int64_t max_images = 0;       // 0: all
};

// What the images make of the input of each conv, by conv name. Convs that read one value share
// its statistics (entries are then equal).
using ActivationStatistics = std::map<std::string, ActivationObserver>;

// Runs `graph` over the images and observes the inputs of `convs`. Weight annotations take part,
// input annotations do not: activations are seen before they are quantized and no upstream
// activation is quantized. Memory is that of one batch and of one histogram per value. Throws Error
// for no images, and naming the conv for NaN or infinite activations.
ActivationStatistics observe_activations(const graph::Graph& graph,
                                         const std::vector<std::string>& convs,
                                         CalibrationData& images, const CalibrationOptions& options,
                                         bool with_histograms = true,
                                         Progress& progress = Progress::none());

// The input quantizer of a conv with these settings.
graph::Quantizer input_quantizer(const ActivationObserver& observer, const LayerSettings& settings);

// Sets graph.quantization[conv].input for every conv whose settings ask for it, and clears the
// others. Returns what was observed.
ActivationStatistics calibrate_activations(graph::Graph& graph, const QuantizationConfig& config,
                                           CalibrationData& images,
                                           const CalibrationOptions& options,
                                           Progress& progress = Progress::none());

}  // namespace yoloquant::quant
