#pragma once

#include <filesystem>

#include "data/image_list.h"
#include "graph/graph.h"
#include "pipeline/quantize.h"

// Internal to the layer.
namespace yoloquant::pipeline {

struct QuantizedGraphs {
  const graph::Graph& annotated;
  const graph::Graph& reference;  // the float model
};

// Writes the annotated graph to `out` as the options say, atomically and only when it passes
// onnx::check and the comparison with the simulator on the first images of `list`; with
// `add_selection` the end2end model of a one2one head. Sets path, check, verification and warnings
// of the result. Throws Error; `out` is then as it was.
void write_quantized(const QuantizedGraphs& graphs, bool add_selection,
                     const std::filesystem::path& out, const QuantizeOptions& options,
                     const data::ImageList& list, QuantizeResult& result, Progress& progress);

}  // namespace yoloquant::pipeline
