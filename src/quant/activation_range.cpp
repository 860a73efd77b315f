#include "quant/activation_range.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "quant/simd.h"
#include "quant/simd_math.h"

namespace yoloquant::quant {
namespace {

constexpr int kLanes = 16;

// Padded to whole lanes with weight 0.
struct Samples {
  explicit Samples(ValueDensity density) : values(std::move(density)) {
    const size_t size = (values.value.size() + kLanes - 1) / kLanes * kLanes;
    values.value.resize(size);
    values.weight.resize(size);
    unit = static_cast<float>(values.width * Histogram::kBins / 256);
  }
  ValueDensity values;
  float unit = 1;  // a size of errors
};

struct Grid {
  float scale;
  float zero;
  float qmin;
  float qmax;
};

// Sum of weight * norm(|x - q(x)|). REQUIRES: count is a multiple of kLanes.
template <typename Norm>
[[gnu::always_inline]] inline double weighted_error(const float* centre, const float* weight,
                                                    size_t count, const Grid& grid, Norm norm) {
  const Grid g = grid;
  float lanes[kLanes] = {};
  for (size_t i = 0; i < count; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const float x = centre[i + j];
      float code = ((x / g.scale + kRounder) - kRounder) + g.zero;
      code = code < g.qmin ? g.qmin : code;
      code = code > g.qmax ? g.qmax : code;
      const float difference = x - (code - g.zero) * g.scale;
      lanes[j] += weight[i + j] * norm(difference < 0 ? -difference : difference);
    }
  }
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

YOLOQUANT_SIMD double squared_error(const float* centre, const float* weight, size_t count,
                                    const Grid& grid) {
  return weighted_error(centre, weight, count, grid,
                        [](float x) __attribute__((always_inline)) { return x * x; });
}

// In units of `unit`, so that nothing leaves the range of float.
YOLOQUANT_SIMD double power_error(const float* centre, const float* weight, size_t count,
                                  const Grid& grid, float unit, float p) {
  const float per_unit = 1 / unit;
  return weighted_error(centre, weight, count, grid, [=](float x) __attribute__((always_inline)) {
    return fast_power(x * per_unit, p);
  });
}

// Mean |x - q(x)|^p, up to a factor that does not depend on the quantizer.
double error_of(const Samples& samples, const graph::Quantizer& quantizer, double p) {
  const Grid grid{quantizer.scale[0], static_cast<float>(quantizer.zero_point[0]),
                  static_cast<float>(quantizer.qmin), static_cast<float>(quantizer.qmax)};
  const float* const centre = samples.values.value.data();
  const float* const weight = samples.values.weight.data();
  const size_t count = samples.values.value.size();
  return p == 2 ? squared_error(centre, weight, count, grid)
                : power_error(centre, weight, count, grid, samples.unit, static_cast<float>(p));
}

// Keeps the best range tried so far.
class BestRange {
 public:
  BestRange(ValueDensity density, int bits, bool symmetric, double p, ActivationRange start)
      : samples_(std::move(density)), bits_(bits), symmetric_(symmetric), p_(p), best_(start) {
    error_ = error_of(samples_, activation_quantizer(start, bits, symmetric), p);
  }

  // Tries `count` upper (or lower) bounds between `from` and `to` times the best one.
  void scan(double ActivationRange::* bound, double from, double to, int count) {
    const ActivationRange base = best_;
    for (int i = 0; i < count; ++i) {
      ActivationRange range = base;
      range.*bound *= from + (to - from) * i / (count - 1);
      if (range.high <= range.low) continue;
      const double error = error_of(samples_, activation_quantizer(range, bits_, symmetric_), p_);
      if (error < error_) {
        error_ = error;
        best_ = range;
      }
    }
  }

  const ActivationRange& best() const { return best_; }

 private:
  Samples samples_;
  int bits_;
  bool symmetric_;
  double p_;
  ActivationRange best_;
  double error_ = 0;
};

double percentile_of(const std::vector<Histogram::Bin>& bins, double width, double rank) {
  double below = 0;
  for (const Histogram::Bin& bin : bins) {
    const auto count = static_cast<double>(bin.count);
    if (below + count >= rank) return bin.low + width * (rank - below) / count;
    below += count;
  }
  return bins.back().low + width;
}

void require_histogram(const ActivationObserver& observer) {
  if (observer.histogram().total() == 0) fail("no activations were observed");
}

}  // namespace

ActivationRange minmax_range(const ActivationObserver& observer) {
  if (observer.empty()) fail("no activations were observed");
  return {std::min(0.0, static_cast<double>(observer.min())),
          std::max(0.0, static_cast<double>(observer.max()))};
}

ActivationRange mean_minmax_range(const ActivationObserver& observer) {
  if (observer.empty()) fail("no activations were observed");
  return {std::min(0.0, observer.mean_min()), std::max(0.0, observer.mean_max())};
}

ActivationRange percentile_range(const ActivationObserver& observer, double p) {
  require_histogram(observer);
  const ActivationRange all = minmax_range(observer);
  const auto bins = observer.histogram().bins();
  const double width = observer.histogram().width();
  const auto total = static_cast<double>(observer.histogram().total());
  const double low = percentile_of(bins, width, total * (1 - p / 100));
  const double high = percentile_of(bins, width, total * p / 100);
  return {std::clamp(low, all.low, 0.0), std::clamp(high, 0.0, all.high)};
}

ActivationRange mse_range(const ActivationObserver& observer, int bits, bool symmetric,
                          const RangeSearch& options) {
  require_histogram(observer);
  return mse_range(density_of(observer.histogram()), minmax_range(observer), bits, symmetric,
                   options);
}

ActivationRange mse_range(const ValueDensity& density, const ActivationRange& all, int bits,
                          bool symmetric, const RangeSearch& options) {
  if (all.high <= all.low) return all;
  const double least = options.least_share;
  const auto upper = &ActivationRange::high;
  const auto lower = &ActivationRange::low;
  if (symmetric) {
    // Only the larger magnitude counts: the upper bound stands for both.
    const double magnitude = std::max(all.high, -all.low);
    BestRange search(density, bits, symmetric, options.norm, {0, magnitude});
    search.scan(upper, std::max(least, 0.1), 1, 64);
    search.scan(upper, 0.98, 1.02, 9);
    const double found = std::clamp(search.best().high, least * magnitude, magnitude);
    return {-found, found};
  }
  BestRange search(density, bits, symmetric, options.norm, all);
  search.scan(upper, std::max(least, 0.1), 1, 64);
  search.scan(lower, least, 1, 33);
  search.scan(upper, 0.9, 1.1, 33);
  search.scan(lower, 0.9, 1.1, 17);
  search.scan(upper, 0.99, 1.01, 9);
  return {std::clamp(search.best().low, all.low, least * all.low),
          std::clamp(search.best().high, least * all.high, all.high)};
}

ActivationRange range_of(const graph::Quantizer& quantizer) {
  const double scale = quantizer.scale[0];
  const int32_t zero = quantizer.zero_point[0];
  const int32_t low = quantizer.is_signed() ? -quantizer.qmax : quantizer.qmin - zero;
  return {scale * low, scale * (quantizer.qmax - zero)};
}

graph::Quantizer activation_quantizer(const ActivationRange& range, int bits, bool symmetric) {
  graph::Quantizer quantizer;
  quantizer.bits = bits;
  quantizer.qmin = symmetric ? -(1 << (bits - 1)) : 0;
  quantizer.qmax = symmetric ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  double scale = symmetric ? std::max(range.high, -range.low) / quantizer.qmax
                           : (range.high - range.low) / (quantizer.qmax - quantizer.qmin);
  // Nothing to tell apart, or too little for a normal float scale.
  if (scale < 1e-30) scale = 1;
  const auto stored = static_cast<float>(scale);
  quantizer.scale = {stored};
  quantizer.zero_point = {0};
  if (!symmetric) {
    const double zero = std::nearbyint(-range.low / static_cast<double>(stored));
    quantizer.zero_point = {static_cast<int32_t>(std::clamp(zero, 0.0, 1.0 * quantizer.qmax))};
  }
  return quantizer;
}

ValueDensity density_of(const Histogram& histogram) {
  ValueDensity density;
  density.width = histogram.width();
  const auto total = static_cast<double>(histogram.total());
  for (const Histogram::Bin& bin : histogram.bins()) {
    density.value.push_back(static_cast<float>(bin.low + density.width / 2));
    density.weight.push_back(static_cast<float>(static_cast<double>(bin.count) / total));
  }
  return density;
}

double mean_squared_error(const ValueDensity& density, const graph::Quantizer& quantizer) {
  return error_of(Samples(density), quantizer, 2);
}

}  // namespace yoloquant::quant
