#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"

// Parts of a graph that are fitted as a whole.
namespace yoloquant::quant {

// Nodes [first, last) of the graph.
struct Block {
  std::string name;
  size_t first = 0;
  size_t last = 0;
  std::vector<graph::ValueId> inputs;   // made before the block, read in it
  std::vector<graph::ValueId> outputs;  // made in the block, read behind it or outputs of the graph
};

// Splits the graph into runs of neighbouring nodes, in execution order and without gaps. Nodes with
// module paths go by module ("model.4"), those of the last module, the head, by branch
// ("model.23.cv2.0"). A conv without a module path makes a block with the activations that follow.
std::vector<Block> find_blocks(const graph::Graph& graph);

// How outputs of a block depend on windows of its inputs.
struct BlockWindow {
  int64_t stride = 1;  // input pixels per output pixel
  int64_t margin = 0;  // output pixels around a window that must be computed with it
};

// Nothing for blocks that see more than a neighbourhood (attention), or whose inputs or outputs
// differ in size. REQUIRES: the graph's shapes are inferred.
std::optional<BlockWindow> find_window(const graph::Graph& graph, const Block& block);

// One axis of a crop: outputs [first, first + count) of the block, and the inputs to compute them
// from, whose outputs begin `skip` before `first`.
struct CropSpan {
  int64_t first = 0;
  int64_t count = 0;
  int64_t input_first = 0;
  int64_t input_count = 0;
  int64_t skip = 0;
};

// The span of `count` outputs at `first`, of `extent` outputs in all.
CropSpan crop_span(const BlockWindow& window, int64_t first, int64_t count, int64_t extent);

}  // namespace yoloquant::quant
