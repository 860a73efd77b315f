#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "exec/operators.h"
#include "graph/graph.h"

namespace yoloquant::quant {

// A graph that LibTorch can differentiate. The float graph (`trainable` false) gives the targets.
// The annotated graph's quantized convs have trainable latent weights v, step sizes and biases:
//   w = s0 exp(a) * round(v),  v = w / s0 at the start, round with a straight-through gradient
// (Esser et al. 2020 learn the step itself; learning its logarithm keeps it positive). Activations
// are fake-quantized with straight-through gradients where annotated.
class Student {
 public:
  struct Options {
    std::string device = "cpu";
    bool bfloat16 = false;  // activations and weights, where that is faster; latent values stay
                            // float32
    bool trainable = true;
    int float_input_bits = 17;  // inputs of so many bits or more are not quantized
  };

  Student(const graph::Graph& graph, const Options& options);

  using OnValue = std::function<void(graph::ValueId id, const at::Tensor& value)>;

  // The wanted values, in order. Runs no further than it must. `on_value` may be null; it gets
  // each value as it is made, the images first.
  std::vector<at::Tensor> forward(const at::Tensor& images,
                                  const std::vector<graph::ValueId>& wanted,
                                  const OnValue& on_value = nullptr) const;

  // Trainable tensors, one list a kind.
  std::vector<at::Tensor> latents() const { return collect(&Trainable::latent); }
  std::vector<at::Tensor> steps() const { return collect(&Trainable::log_step); }
  std::vector<at::Tensor> biases() const { return collect(&Trainable::bias); }

  // All of them by name: CONV.latent, CONV.log_step, CONV.bias.
  std::map<std::string, at::Tensor> named() const;
  // These and what they are relative to, CONV.start: all that is needed to go on.
  std::map<std::string, at::Tensor> state() const;

  // Keeps latent weights where rounding reaches them.
  void clamp_latents();

  // Writes rounded weights, scales and biases into `graph` (the one it was made from, or a copy).
  void store(graph::Graph& graph) const;

 private:
  struct Trainable {
    at::Tensor latent;    // v, shape of the weight
    at::Tensor log_step;  // a, [O, 1, 1, 1] or scalar shape [1, 1, 1, 1]
    at::Tensor bias;      // [O]; undefined when the conv has none
    at::Tensor start;     // s0
    int qmin = 0;
    int qmax = 0;
  };

  std::vector<at::Tensor> collect(at::Tensor Trainable::* member) const;
  at::Tensor weight_of(const Trainable& t) const;
  exec::NodeParameters parameters_of(size_t node) const;
  const graph::Quantizer* input_quantizer_of(const graph::Node& node) const;

  graph::Graph graph_;
  Options options_;
  std::vector<exec::NodeParameters> fixed_;  // by node
  std::map<size_t, Trainable> trainable_;    // by node
};

}  // namespace yoloquant::quant
