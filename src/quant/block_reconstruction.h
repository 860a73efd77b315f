#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "quant/blocks.h"
#include "quant/paired_walk.h"
#include "quant/soft_rounding.h"

// Fits the rounding of a block's weights to the block's outputs in the float model (BRECQ, Li et
// al. 2021).
namespace yoloquant::quant {

struct ReconstructionOptions {
  int64_t iterations = 100;
  int64_t batch = 4;        // images an iteration
  int64_t crop = 40;        // outputs a side, where the block allows crops; 0: whole maps
  double rate = 0.03;       // Adam's, of the rounding variables
  double bias_rate = 1e-3;  // of the biases
  double lead = 0.4;        // see SoftRounding
  double penalty = 1;       // weight of indecision, as a multiple of the block's error at the start
  double beta_first = 20;   // of the indecision; falls to beta_last
  double beta_last = 2;
  double warmup = 0.2;     // part of the iterations without penalty
  double drop = 0.5;       // QDrop: part of the values that are taken from the float path
  double held_out = 0.15;  // part of the images
  int64_t checks = 4;      // of the held-out error
  std::string device = "cpu";
};

// Whether the block has convs whose rounding can be fitted: with a weight annotation, and not exact
// on their grid (DFL).
bool has_fitted_convs(const graph::Graph& annotated, const graph::Graph& reference,
                      const Block& block);

// A block that can be run with soft or with rounded weights.
class SoftBlock {
 public:
  SoftBlock(const graph::Graph& annotated, const graph::Graph& reference, const Block& block,
            const ReconstructionOptions& options);

  std::vector<at::Tensor> variables() const;
  std::vector<at::Tensor> biases() const;
  at::Tensor indecision(double beta) const;  // mean over the block's weights

  enum class Weights : uint8_t { kSoft, kHard };
  // Values of block.outputs from those of block.inputs, float32. With `drop` each activation
  // quantizer leaves that part of its values, at random, as they are.
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs, Weights weights,
                                  double drop, at::Generator& random) const;

  // Writes rounded weights and biases.
  void store(graph::Graph& annotated) const;

 private:
  struct FittedConv {
    SoftRounding rounding;
    at::Tensor bias;  // undefined when the conv has none
    int64_t size;     // weights
  };

  const graph::Graph& annotated_;
  const Block& block_;
  std::map<size_t, FittedConv> convs_;            // by node
  std::vector<exec::NodeParameters> parameters_;  // by node of the block, of all others
};

struct BlockResult {
  std::string name;
  int64_t images = 0;  // that the errors were measured on
  double before = 0;   // squared error of the outputs over their variance, rounded weights, all
  double after = 0;    // inputs from the quantized path; after <= before
  int64_t iterations = 0;
};

// Fits the block and writes the best rounding found into `annotated`: that with the least error on
// held-out images (on all when there are less than four), the start included. Goes on until
// `fraction(iterations done)`, part of the allowance that is spent, reaches 1; what it throws, an
// interruption, passes through and the block stays as it was. REQUIRES: has_fitted_convs.
BlockResult reconstruct_block(graph::Graph& annotated, const graph::Graph& reference,
                              const PairedBlock& data, const ReconstructionOptions& options,
                              uint64_t seed, const std::function<double(int64_t)>& fraction);

}  // namespace yoloquant::quant
