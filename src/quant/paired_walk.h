#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "exec/operators.h"
#include "graph/graph.h"
#include "quant/blocks.h"
#include "quant/calibration_data.h"

// Walks a float graph and its quantized twin through the same images side by side, conv by conv, so
// that each conv can be fitted with the inputs that the already quantized layers give it.
namespace yoloquant::quant {

// The input of one conv, a tensor [N, C, H, W] a batch, made when asked for. `quantized` has the
// conv's own input quantizer applied, if it has one.
struct PairedInput {
  const graph::Node& node;
  int64_t images;
  size_t batches;
  std::function<at::Tensor(size_t batch)> reference;
  std::function<at::Tensor(size_t batch)> quantized;
};

struct PairedWalkOptions {
  int64_t images = 0;  // 0: all
  int batch = 4;
  int64_t memory = int64_t{256} << 20;  // bytes of the values that are kept, about
};

// Calls `visit` for each conv of `annotated` with a quantized weight, in execution order. The
// visitor may change that conv's parameters and annotation in `annotated`: later convs see the
// result. What later nodes still need of all images is kept as float16; where that is more than
// `memory`, in the first layers with their large maps, fewer images take part, and the others are
// brought up to the node where they fit. Both graphs must have the same nodes; `reference` is not
// annotated.
void walk_pairs(const graph::Graph& reference, const graph::Graph& annotated,
                CalibrationData& images, const PairedWalkOptions& options,
                const std::function<void(const PairedInput&)>& visit);

// One block for all images: its inputs on both sides and its outputs in the float graph, each in
// the block's order of values, then by image; float16, [1, ...].
struct PairedBlock {
  const Block& block;
  std::vector<std::vector<at::Tensor>> reference;
  std::vector<std::vector<at::Tensor>> quantized;
  std::vector<std::vector<at::Tensor>> outputs;
};

// The same block by block, for the first `count` images: calls `visit` for each block, which may
// change its convs in `annotated`, until it returns false. REQUIRES: `blocks` are find_blocks'.
void walk_blocks(const graph::Graph& reference, const graph::Graph& annotated,
                 const std::vector<Block>& blocks, CalibrationData& images, int64_t count,
                 const std::function<bool(const PairedBlock&)>& visit);

// About what a walk holds per image of the graph's input size.
int64_t walk_bytes_per_image(const graph::Graph& graph);

// Parameters of a node as the quantized model has them: weights on their codes.
exec::NodeParameters quantized_parameters(const graph::Graph& graph, const graph::Node& node);

}  // namespace yoloquant::quant
