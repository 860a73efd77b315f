#pragma once

#include "graph/graph.h"
#include "graph/passes.h"
#include "quant/config.h"

// The preset "reference": the choices of the Python pipeline that this tool is measured against,
// to show side by side what they cost. Per-tensor scales that just hold the largest weight, taken
// before batch norms are folded; codes [-7, 7] at 4 bits ([-127, 127] at 8); the DFL projection
// treated like any other weight, which destroys it at 4 bits; activations int8, symmetric, one
// scale each, by minimum and maximum.
namespace yoloquant::quant {

// A configuration with the preset's choices for activations and, outside of this file's way of
// annotating, weights.
QuantizationConfig reference_config(const Scheme& scheme);

// Quantizes the weights of a training graph, then keeps a head and folds batch norms; RepVGGDW
// keeps its two branches, each with its own scale. Returns the inference graph annotated with the
// weights' quantizers. A conv whose batch norm was folded lies on a per-channel grid of scale s
// |gamma| / sqrt(var + eps), codes negated where gamma is negative, and is annotated so. A graph
// without batch norms (from an ONNX file) is quantized per tensor as it is.
graph::Graph reference_weights(const graph::Graph& model, graph::Head head, const Scheme& scheme);

}  // namespace yoloquant::quant
