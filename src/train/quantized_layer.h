#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "graph/graph.h"
#include "quant/observer.h"
#include "train/lsq.h"
#include "train/oscillation.h"
#include "train/trainable_graph.h"

// Internal to the layer: one conv of QuantizedTraining.
namespace yoloquant::train {

// The batch norm behind a conv; the model's tensors.
struct LayerNorm {
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor mean;
  at::Tensor variance;
  double eps = 0;

  at::Tensor factor() const;  // [O] float64: what folding multiplies the conv's output channels by
};

struct InputQuantizer {
  graph::Quantizer form;  // bits and code range
  at::Tensor log_step;    // [1]
  at::Tensor zero_point;  // [1] float32
  at::Tensor start;       // [1]: log_step at the start
  ClipCount count;
  bool ready = false;                  // has a range
  quant::ActivationObserver observer;  // until it has

  CodeRange range() const { return {form.qmin, form.qmax}; }
  void set(const graph::Quantizer& quantizer);
  graph::Quantizer exported(const std::string& conv) const;
};

struct QuantizedLayer {
  std::string conv;
  at::Tensor weight;  // the model's
  at::Tensor bias;    // the model's; undefined: none
  std::optional<LayerNorm> norm;

  int target_bits = 8;
  bool narrow = false;
  at::Tensor bits;        // [1] int64, in force now
  CodeRange range;        // of these bits
  at::Tensor log_step;    // [O]
  at::Tensor start;       // [O]: log_step when the bits came into force
  at::Tensor correction;  // [O]: log of a factor of the output channels; undefined: none
  std::optional<InputQuantizer> input;
  OscillationTracker tracker;

  at::Tensor sign() const;         // [O] of 1 and -1: of what is folded in; undefined: all 1
  at::Tensor signed_step() const;  // [O], no gradients
  at::Tensor codes() const { return weight_codes(weight, signed_step(), range); }
  at::Tensor quantized(const at::Tensor& weight_in_use) const;  // what the conv computes with

  // Sets bits, and the range with them.
  void set_bits(int wanted);
  // Steps from the weights as they are.
  void search_steps();
  void set_steps(const at::Tensor& steps);  // [O], positive
};

// The layer of an annotated conv. Its steps are relative to the unfolded weight: the annotation's
// over the magnitude of the fold factor.
QuantizedLayer make_layer(const TrainableGraph& model, const std::string& conv,
                          const graph::ConvQuantization& annotation);

// Brings the model's weight and bias to those of the annotated graph, where codes differ.
void adopt(const QuantizedLayer& layer, const graph::Graph& annotated);

// Writes the folded and rounded weight and the quantizers. The bias is not touched.
void export_layer(const QuantizedLayer& layer, graph::Graph& annotated);

}  // namespace yoloquant::train
