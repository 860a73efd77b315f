#pragma once

#include <cstdint>

#include "graph/passes.h"
#include "pipeline/load_model.h"

// Internal to the layer.
namespace yoloquant::pipeline {

struct InferenceShape {
  int64_t batch = 1;
  int64_t image_height = 0;  // pixels; 0: the model's own
  int64_t image_width = 0;
};

// One head of the model with batch norms folded, at this input shape. Throws Error (usage) when an
// ONNX file holds another head than `head`.
graph::Graph inference_graph(const LoadedModel& model, graph::Head head, graph::Branches branches,
                             const InferenceShape& shape, int64_t max_detections = 300);

// The raw head that is quantized and measured: end2end only adds the selection to one2one.
graph::Head raw_head(graph::Head head);

// Only the last part of it.
void set_shape(graph::Graph& graph, const InferenceShape& shape);

}  // namespace yoloquant::pipeline
