#pragma once

#include <vector>

#include "graph/quantizer.h"
#include "quant/observer.h"
#include "quant/scheme.h"

// From statistics of an activation to its quantizer. Every range contains 0, which is always
// exactly a code: the zero padding of convs stays zero.
namespace yoloquant::quant {

struct ActivationRange {
  double low = 0;   // <= 0
  double high = 0;  // >= 0
};

ActivationRange minmax_range(const ActivationObserver& observer);

// From the mean over the images of the smallest value to the mean of the largest.
ActivationRange mean_minmax_range(const ActivationObserver& observer);

// From the (100 - p)-th to the p-th percentile, linear within a bin, never beyond minimum and
// maximum.
ActivationRange percentile_range(const ActivationObserver& observer, double p);

struct RangeSearch {
  double norm = 2;         // p of sum |x - q(x)|^p; 2 is the mean squared error
  double least_share = 0;  // of minimum and maximum: neither is clipped to less
};

// What an error at each value of an activation counts: bins, by the value at their centre.
struct ValueDensity {
  std::vector<float> value;
  std::vector<float> weight;
  double width = 0;  // of a bin
};

// Each value as often as it was seen; weights sum to 1.
ValueDensity density_of(const Histogram& histogram);

// The range of least sum of |x - q(x)|^p over the histogram, rounding and clipping errors together,
// searched by upper and lower bound in turn.
ActivationRange mse_range(const ActivationObserver& observer, int bits, bool symmetric,
                          const RangeSearch& options = {});
// The same for other weights; `all` holds every value of weight.
ActivationRange mse_range(const ValueDensity& density, const ActivationRange& all, int bits,
                          bool symmetric, const RangeSearch& options = {});

// The quantizer of a range: asymmetric codes [0, 2^bits - 1], or symmetric [-2^(bits-1),
// 2^(bits-1) - 1] with zero point 0. An empty range gives scale 1.
graph::Quantizer activation_quantizer(const ActivationRange& range, int bits, bool symmetric);

// What a quantizer with one scale reaches: activation_quantizer() of it is the same quantizer.
ActivationRange range_of(const graph::Quantizer& quantizer);

// sum weight * (x - q(x))^2, each bin taken at its centre.
double mean_squared_error(const ValueDensity& density, const graph::Quantizer& quantizer);

}  // namespace yoloquant::quant
