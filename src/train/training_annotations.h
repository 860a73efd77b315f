#pragma once

#include "graph/graph.h"
#include "quant/config.h"

namespace yoloquant::train {

// The annotated graph for training with quantization from the start, without post-training
// quantization: the inference graph of a training graph (both heads, batch norms folded, branches
// kept) with weight scales as the settings ask for. Quantizers of inputs have no scale yet, unless
// the settings fix their range: QuantizedTraining::set_input_ranges gives it. The input of the DFL
// projection, probabilities, has range [0, 1].
// Throws Error (usage) for rules that match nothing and for the reference preset.
graph::Graph annotate_for_training(const graph::Graph& training,
                                   const quant::QuantizationConfig& config);

}  // namespace yoloquant::train
