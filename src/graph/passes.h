#pragma once

#include <string_view>

#include "graph/graph.h"

// Rewrites Graph -> Graph. Each keeps the outputs within float rounding (1e-4 relative; tested).
namespace yoloquant::graph {

// Which detection head a graph computes.
enum class Head : uint8_t {
  kBoth,       // outputs "one2many" and "one2one", raw [N, 4 + classes, A]
  kOneToMany,  // output0 raw
  kOneToOne,   // output0 raw
  kEndToEnd,   // one2one followed by SelectDetections: output0 [N, 300, 6]
};
Head parse_head(std::string_view name);  // "both", "one2many", "one2one", "end2end"; Error (usage)
std::string_view head_name(Head head);

// Removes nodes, values and parameters that no output depends on.
Graph remove_dead_code(const Graph& graph);

// Keeps one head of a graph that computes both; the output is named "output0". A graph that has one
// output only is returned as it is when it can be that head's.
Graph keep_head(const Graph& graph, Head head, int64_t max_detections = 300);

// conv -> batch_norm becomes one conv with a bias:
//   w' = w * gamma / sqrt(var + eps),  b' = (b - mean) * gamma / sqrt(var + eps) + beta.
Graph fold_batch_norm(const Graph& graph);

// RepVGGDW: the sum of two depthwise convs of one input (7x7 and 3x3, BN folded) becomes one conv
// with the smaller kernel zero-padded into the larger. Source: THU-MIG RepVGGDW.fuse.
Graph merge_parallel_convs(const Graph& graph);

// Whether for_inference merges parallel convs. Quantized QCDQ files keep them apart: one quantized
// conv for each conv of the definition is what their users count on.
enum class Branches : uint8_t { kMerge, kKeep };

// What is exported and quantized: keep_head, fold_batch_norm, merge_parallel_convs (unless
// `branches` says otherwise), remove_dead_code.
Graph for_inference(const Graph& graph, Head head, Branches branches = Branches::kMerge);

}  // namespace yoloquant::graph
