#pragma once

#include <filesystem>

#include "graph/graph.h"

// What quantization has made of a float graph, as a file (safetensors): for later steps that start
// from it.
namespace yoloquant::quant {

// Weights and biases of the annotated convs, and their quantizers: CONV.weight, CONV.bias, and of
// PART weight_quantizer and input_quantizer CONV.PART.scale (float32), .zero_point (int32), .form
// (int32: bits, qmin, qmax, axis). Atomically.
void write_annotations(const std::filesystem::path& path, const graph::Graph& annotated);

// The float graph of the same model with what was written. Throws Error with the path for a file
// that is none of this kind, or of another model.
graph::Graph read_annotations(const std::filesystem::path& path, graph::Graph inference);

}  // namespace yoloquant::quant
