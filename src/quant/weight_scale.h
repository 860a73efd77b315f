#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "graph/quantizer.h"
#include "quant/scheme.h"
#include "tensor/tensor.h"

// Scales of conv weights. Symmetric: zero point 0, codes [-2^(b-1), 2^(b-1)-1], or one code less
// when narrow.
namespace yoloquant::quant {

struct WeightScaleOptions {
  int bits = 8;
  bool narrow_range = false;
  Granularity granularity = Granularity::kPerChannel;
  WeightScaleMethod method = WeightScaleMethod::kMse;
  double norm = 2.4;  // p; above 2 it cares more for the large weights
  int threads = 0;    // 0: all CPUs; the result does not depend on it
};

// sum |w - scale * clamp(round(w / scale), qmin, qmax)|^p, in double precision.
double rounding_error(std::span<const float> weights, float scale, int qmin, int qmax, double p);

// The scale of least rounding_error, up to the spacing of a search: the best of a grid between 0.3
// and 1.1 of the scale that just holds the largest weight (finer bits search closer to 1), then two
// refinements around it. 1 for weights that are all zero (or too small for a normal float scale).
float search_scale(std::span<const float> weights, int qmin, int qmax, double p);

// For the DFL projection, whose true weights are 0, 1, ... n - 1 with n <= 16: unsigned 4-bit codes
// with scale 1, which are exact in every scheme. Checkpoints that went through an 8-bit form carry
// it with rounding errors (0.945 for 1); those are taken for the projection too where `bits` are
// too few to keep the errors, i.e. at 4 bits or less. None for other weights.
std::optional<graph::Quantizer> projection_quantizer(const Tensor& weight, int bits);

// Quantizer of a weight [O, ...] (axis 0 when per channel). Throws Error for NaN or infinity.
graph::Quantizer choose_weight_quantizer(const Tensor& weight, const WeightScaleOptions& options);

}  // namespace yoloquant::quant
