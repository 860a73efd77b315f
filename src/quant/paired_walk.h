#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "graph/graph.h"
#include "quant/calibration_data.h"

// Walks a float graph and its quantized twin through the same images side by side, conv by conv, so
// that each conv can be fitted with the inputs that the already quantized layers give it.
namespace yoloquant::quant {

// The input of one conv for all images, a tensor [N, C, H, W] a batch. `quantized` has the conv's
// own input quantizer applied, if it has one.
struct PairedInput {
  const graph::Node& node;
  std::vector<at::Tensor> reference;
  std::vector<at::Tensor> quantized;
};

struct PairedWalkOptions {
  int64_t images = 0;  // 0: all
  int batch = 8;
};

// Calls `visit` for each conv of `annotated` with a quantized weight, in execution order. The
// visitor may change that conv's parameters and annotation in `annotated`: later convs see the
// result. All images are held at once, as float16 between nodes, but only the values that later
// nodes still need. Both graphs
// must have the same nodes.
void walk_pairs(const graph::Graph& reference, const graph::Graph& annotated,
                CalibrationData& images, const PairedWalkOptions& options,
                const std::function<void(const PairedInput&)>& visit);

}  // namespace yoloquant::quant
