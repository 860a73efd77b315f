#pragma once

#include <string>
#include <vector>

#include "base/progress.h"
#include "graph/graph.h"
#include "quant/calibrate.h"
#include "quant/calibration_data.h"
#include "quant/config.h"
#include "quant/range_choice.h"

// From a graph whose convs quantize their inputs to one whose values are quantized where a runtime
// can then go on in integers: what `--layout deploy` writes.
namespace yoloquant::quant {

// What of a graph runs in integers. Convs do, but for those
// - that read an image: three channels fill no vector of int8 products,
// - whose result becomes class scores and nothing else, and the last conv before an output: their
//   rounding shows in the detections directly,
// - that read a softmax (DFL), or that the annotations leave float.
// SiLU behind an integer conv does, taken apart into x * sigmoid(x), and so do Concat, Split,
// MaxPool and residual sums of feature maps that lead to another integer conv: never the one of
// boxes and scores.
struct IntegerPlan {
  // The annotated graph with those SiLUs taken apart; convs that stay float hold the values of
  // their codes as weights. No activation is quantized yet.
  graph::Graph graph;
  std::vector<std::string> values;           // to be quantized, in the order they are made
  std::vector<std::vector<size_t>> shared;   // indices into `values` that must have one scale
  std::vector<std::vector<size_t>> concats;  // the same, but better apart where ranges differ much
  std::vector<bool> before_silu;             // by value
  std::vector<bool> sigmoid;                 // by value: lies in [0, 1]
};

// Throws Error (usage) when a conv's input has other than 8 bits.
IntegerPlan plan_integers(const graph::Graph& annotated);

// The plan's graph with Graph::value_quantization set from what `images` make of each value, with
// the ranges of config.defaults. Below -6 SiLU is 0 to the step, so codes are not spent there; a
// conv whose range leaves fewer than 24 codes to SiLU's bend, between -3 and 3, stays float.
graph::Graph integer_graph(const graph::Graph& annotated, const QuantizationConfig& config,
                           CalibrationData& images, const RangeChoiceOptions& options,
                           Progress& progress = Progress::none());

}  // namespace yoloquant::quant
