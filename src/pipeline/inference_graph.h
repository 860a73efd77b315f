#pragma once

#include <cstdint>

#include "graph/passes.h"
#include "onnx/writer.h"
#include "pipeline/load_model.h"

// Internal to the layer.
namespace yoloquant::pipeline {

struct InferenceShape {
  int64_t batch = 1;
  int64_t image_height = 0;  // pixels; 0: the model's own
  int64_t image_width = 0;
};

// The model with batch norms folded, at this input shape, with one head or with both. Throws Error
// (usage) when an ONNX file holds another head than `head`.
graph::Graph inference_graph(const LoadedModel& model, graph::Head head, graph::Branches branches,
                             const InferenceShape& shape, int64_t max_detections = 300);

// Whether the model is an ONNX file that makes final rows, [N, K, 6]: it has no other head.
bool has_final_rows(const LoadedModel& model);
// The head that comes out when `wanted` is asked for: one2many, the default, stands for the only
// head of such a file.
graph::Head result_head(const LoadedModel& model, graph::Head wanted);
// What is quantized and measured: the raw head, to which end2end only adds the selection; or a
// file's final rows.
graph::Head quantized_head(const LoadedModel& model, graph::Head wanted);

// Layouts for speed take RepVGGDW's branches together, the others keep the definition's convs.
graph::Branches branches_of(onnx::Layout layout);

// Only the last part of it.
void set_shape(graph::Graph& graph, const InferenceShape& shape);

}  // namespace yoloquant::pipeline
