#pragma once

#include "graph/passes.h"
#include "model/model.h"

namespace yoloquant::quant {

// A YOLOv10 of a few layers for images of 64 pixels.
inline constexpr const char* kTinyDetector = R"(
nc: 3
scales: {n: [0.33, 0.25, 128]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 3, C2f, [64, true]]
  - [-1, 1, SCDown, [128, 3, 2]]
head:
  - [[1, 2], 1, v10Detect, [nc]]
)";

// The inference graph of a definition with weights from formulas.
inline graph::Graph tiny_detector(const char* definition = kTinyDetector,
                                  graph::Head head = graph::Head::kOneToMany) {
  graph::Graph graph = model::build(model::parse_definition(definition, "tiny"), 64, 64);
  model::set_formula_parameters(graph);
  return for_inference(graph, head, graph::Branches::kKeep);
}

}  // namespace yoloquant::quant
