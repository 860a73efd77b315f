#pragma once

#include <span>
#include <vector>

#include "base/random.h"
#include "quant/paired_walk.h"
#include "tensor/tensor.h"

// Rounding one conv so that from the quantized layers' outputs x' it gives what the float conv
// gives from the float layers' outputs x.
namespace yoloquant::quant {

struct FitOptions {
  // Of the im2col matrix: so many of each image, and more where all images have less than
  // `positions`.
  int64_t per_image = 800;
  int64_t positions = 38400;
  double weighted = 0.1;  // share of the positions that is drawn by ConvToFit::weights
  double damping = 0.15;  // of the fit and of the rounding, as a share of mean diag H
  int scale_candidates = 14;
  double moves = 4;           // of the search for better codes, by column
  bool output_target = true;  // false: plain GPTQ, the float weights are the target
};

struct FittedConv {
  Tensor weight;                    // on the grid of `scale`
  std::vector<float> scale;         // by output channel
  std::vector<double> bias_change;  // by output channel
};

struct CodeRange {
  int qmin = -8;
  int qmax = 7;
};

struct ConvToFit {
  const PairedInput& input;
  const Tensor& weight;  // float, [O, I/groups, KH, KW]
  // How much output positions of the images [N, H * W] matter (position_weights); undefined: the
  // same.
  at::Tensor weights;
};

// Least error of the conv's outputs, summed over the positions, the best bias included. With
// H = cov[x', x'] and C = cov[x, x'] (without a bias: second moments) the target is the weight that
// reproduces the float output from quantized inputs, W (C + l I)(H + l I)^-1; what remains is
// rounded by round_row, one scale a channel. One fit per
// group (per channel when depthwise).
FittedConv fit_output(const ConvToFit& conv, CodeRange range, const FitOptions& options,
                      Random& random);
// The same for several ranges of codes, from the same positions.
std::vector<FittedConv> fit_outputs(const ConvToFit& conv, std::span<const CodeRange> ranges,
                                    const FitOptions& options, Random& random);

}  // namespace yoloquant::quant
