#pragma once

#include <optional>

#include "graph/graph.h"

namespace yoloquant::graph {

// The logits of a YOLO detection head before they are decoded.
struct DetectionLogits {
  ValueId boxes = -1;    // [N, bins, 4, A]: distribution of the distance to each side, in cells
  ValueId classes = -1;  // [N, C, A]
};

// Of the head that ends in `output`, found by structure: the box distribution is what the softmax
// in front of the DFL projection reads, the class logits are what the sigmoid in front of the
// output reads. Nothing when the output is no such head's.
std::optional<DetectionLogits> detection_logits(const Graph& graph, ValueId output);

}  // namespace yoloquant::graph
