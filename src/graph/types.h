#pragma once

#include <vector>

#include "graph/graph.h"

// Internal to the layer.
namespace yoloquant::graph {

// Element types of a node's outputs, from those of its inputs. Throws Error when the operator does
// not take them: convolutions and the like need float32, indices are integers.
std::vector<DType> output_types(const Graph& graph, const Node& node);

}  // namespace yoloquant::graph
