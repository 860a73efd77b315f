#pragma once

#include <cstdint>

#include "graph/graph.h"
#include "model/definition.h"
#include "tensor/tensor.h"

namespace yoloquant::model {

// Builds the training graph of a definition: batch norms unfolded, both heads, outputs "one2many"
// and "one2one", raw [N, 4 + classes, A] (cxcywh in pixels of the input, scores after sigmoid).
// Parameters are zero (the DFL projection 0..15). Nodes are named by Ultralytics module path.
// Throws Error that names the layer for modules or arguments it does not know.
// Follows: Ultralytics parse_model, THU-MIG v10Detect.
graph::Graph build(const Definition& definition, int64_t image_height = 640,
                   int64_t image_width = 640);

// Copies a state dict (Ultralytics keys, any float type) into the graph's parameters. Throws Error
// that lists missing, unexpected or misshapen keys. A state without one2many or without one2one
// head keys is not accepted.
void load_state(graph::Graph& graph, const TensorMap& state);

// The graph's parameters as Ultralytics' state dict, num_batches_tracked included.
TensorMap state_dict(const graph::Graph& graph);

// Weights and biases in the state dict: what Ultralytics reports as parameters.
int64_t parameter_count(const graph::Graph& graph);

// Fresh weights by seed: PyTorch's default initialization of convs, unit batch norms, Ultralytics'
// bias initialization of the heads. Independent of the order of the nodes.
void initialize(graph::Graph& graph, uint64_t seed);

// Reproducible weights with outputs of a sensible size, from the names alone: for tests and for
// comparing implementations. For element i of tensor NAME, u = top 24 bits of
// splitmix64_mix(fnv1a64(NAME) + (i + 1) * 0x9E3779B97F4A7C15) / 2^24; running_var .5 + u,
// running_mean u - .5, bn.weight .75 + .5 u, biases .2 (u - .5), others (2 u - 1) sqrt(4 / fan_in).
void set_formula_parameters(graph::Graph& graph);
// The formula's u for a tensor of this name, such as the test image "images".
Tensor formula_tensor(const std::string& name, const Shape& shape);

}  // namespace yoloquant::model
