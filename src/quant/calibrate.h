#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/progress.h"
#include "graph/graph.h"
#include "quant/activation_range.h"
#include "quant/calibration_data.h"
#include "quant/config.h"
#include "quant/observer.h"

// Ranges of activations from images.
namespace yoloquant::quant {

struct CalibrationOptions {
  int batch = 1;  // images at a time; the result does not depend on it beyond float rounding
  std::string device = "auto";  // of the executor
  int64_t first_image = 0;
  int64_t max_images = 0;  // from there; 0: all
  // Images that go through the model side by side on a CPU, each on an equal share of the threads
  // that LibTorch is set to: less waiting than all threads on one image. Each takes the memory of
  // one batch. The result does not depend on it. 0: one a thread, at most 4.
  int workers = 0;
};

// What the images make of the input of each conv, by conv name. Convs that read one value share
// its statistics (entries are then equal).
using ActivationStatistics = std::map<std::string, ActivationObserver>;

// Runs `graph` over the images and observes the inputs of `convs`. Weight annotations take part,
// input annotations do not: activations are seen before they are quantized and no upstream
// activation is quantized. Memory is that of a few batches and of one histogram per value and
// worker. Throws Error for no images, and naming the conv for NaN or infinite activations.
ActivationStatistics observe_activations(const graph::Graph& graph,
                                         const std::vector<std::string>& convs,
                                         CalibrationData& images, const CalibrationOptions& options,
                                         bool with_histograms = true,
                                         Progress& progress = Progress::none());

// The same for the values of these names, by name: what the nodes that make them give out. Ignores
// input and value annotations. Throws Error for a name that no node makes.
ActivationStatistics observe_values(const graph::Graph& graph,
                                    const std::vector<std::string>& values, CalibrationData& images,
                                    const CalibrationOptions& options, bool with_histograms = true,
                                    Progress& progress = Progress::none());

// Convs whose inputs are probabilities (DFL), of which those near 1 matter most: never clipped.
std::set<std::string> convs_after_softmax(const graph::Graph& graph);

// Whether a conv with these settings has its input quantized.
bool quantizes_input(const LayerSettings& settings);

// The range that the settings ask for; where it is yet to be chosen,
// mean_minmax from 7 bits on and mse below. Throws Error for
// activation bits that are not supported.
ActivationRange activation_range(const ActivationObserver& observer, const LayerSettings& settings);
bool needs_histogram(const LayerSettings& settings);

// The input quantizer of a conv with these settings.
graph::Quantizer input_quantizer(const ActivationObserver& observer, const LayerSettings& settings);

// Sets graph.quantization[conv].input from what was observed, for every conv whose settings ask for
// it, and clears the others. A conv that reads a softmax (DFL) takes minimum and maximum whatever
// the settings say. REQUIRES: `statistics` has these convs, with histograms where the settings'
// range method needs them.
void annotate_inputs(graph::Graph& graph, const QuantizationConfig& config,
                     const ActivationStatistics& statistics);

// Observes the convs whose settings ask for it, and annotates their inputs. Returns what was
// observed.
ActivationStatistics calibrate_activations(graph::Graph& graph, const QuantizationConfig& config,
                                           CalibrationData& images,
                                           const CalibrationOptions& options,
                                           Progress& progress = Progress::none());

}  // namespace yoloquant::quant
