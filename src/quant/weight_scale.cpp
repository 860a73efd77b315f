#include "quant/weight_scale.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "quant/simd.h"
#include "quant/simd_math.h"

namespace yoloquant::quant {
namespace {

constexpr int kLanes = 16;
struct Power {
  float p;
  [[gnu::always_inline]] float operator()(float x) const { return fast_power(x, p); }
};
struct Square {
  [[gnu::always_inline]] float operator()(float x) const { return x * x; }
};

// Rounding errors in units of `unit`, summed over the weights by lane.
template <typename Norm>
[[gnu::always_inline]] inline double sum_of_errors(const float* w, size_t count, float scale,
                                                   float qmin, float qmax, float unit, Norm norm) {
  float lanes[kLanes] = {};
  const float per_unit = 1 / unit;
  const auto error = [&](float x) __attribute__((always_inline)) {
    float code = (x / scale + kRounder) - kRounder;
    code = code < qmin ? qmin : code;
    code = code > qmax ? qmax : code;
    const float difference = (x - code * scale) * per_unit;
    return norm(difference < 0 ? -difference : difference);
  };
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] += error(w[i + j]);
  }
  if (i < count) {
    // The rest, filled up with zeros, which have no error.
    float rest[kLanes] = {};
    for (size_t j = 0; j < count - i; ++j) rest[j] = w[i + j];
    for (int j = 0; j < kLanes; ++j) lanes[j] += error(rest[j]);
  }
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

YOLOQUANT_SIMD double fast_error_power(const float* w, size_t count, float scale, float qmin,
                                       float qmax, float unit, float p) {
  return sum_of_errors(w, count, scale, qmin, qmax, unit, Power{p});
}

YOLOQUANT_SIMD double fast_error_square(const float* w, size_t count, float scale, float qmin,
                                        float qmax, float unit) {
  return sum_of_errors(w, count, scale, qmin, qmax, unit, Square{});
}

float largest_magnitude(std::span<const float> weights) {
  float largest = 0;
  for (const float w : weights) largest = std::max(largest, std::abs(w));
  return largest;
}

// Weights this small would need a scale outside the normal floats.
constexpr float kSmallestMagnitude = 1e-30F;

float absmax_scale(std::span<const float> weights, int qmax) {
  const float largest = largest_magnitude(weights);
  return largest < kSmallestMagnitude ? 1.0F : largest / static_cast<float>(qmax);
}

graph::Quantizer signed_quantizer(const WeightScaleOptions& options) {
  graph::Quantizer quantizer;
  quantizer.bits = options.bits;
  quantizer.qmax = (1 << (options.bits - 1)) - 1;
  quantizer.qmin = -quantizer.qmax - (options.narrow_range ? 0 : 1);
  return quantizer;
}

}  // namespace

double rounding_error(std::span<const float> weights, float scale, int qmin, int qmax, double p) {
  double sum = 0;
  for (const float w : weights) {
    const float code =
        std::clamp(std::nearbyint(w / scale), static_cast<float>(qmin), static_cast<float>(qmax));
    sum += std::pow(std::abs(static_cast<double>(w) - static_cast<double>(code) * scale), p);
  }
  return sum;
}

float search_scale(std::span<const float> weights, int qmin, int qmax, double p) {
  const float largest = largest_magnitude(weights);
  if (largest < kSmallestMagnitude) return 1.0F;
  const float full = largest / static_cast<float>(qmax);
  const auto error = [&](float scale) {
    const auto low = static_cast<float>(qmin);
    const auto high = static_cast<float>(qmax);
    return p == 2 ? fast_error_square(weights.data(), weights.size(), scale, low, high, full)
                  : fast_error_power(weights.data(), weights.size(), scale, low, high, full,
                                     static_cast<float>(p));
  };
  float best = full;
  double best_error = error(full);
  const auto try_scale = [&](float scale) {
    const double e = error(scale);
    if (e < best_error) {
      best_error = e;
      best = scale;
    }
  };
  // Few weights make a jagged error with narrow minima, but are quickly tried.
  const int grid = weights.size() <= 64 ? 400 : 60;
  constexpr int kRefine = 4;  // points on either side
  const float low = qmax <= 7 ? 0.3F : qmax <= 31 ? 0.5F : 0.7F;
  const float high = 1.1F;
  float step = (high - low) / static_cast<float>(grid - 1);
  for (int i = 0; i < grid; ++i) try_scale(full * (low + step * static_cast<float>(i)));
  for (int round = 0; round < 2; ++round) {
    const float middle = best;
    step /= kRefine + 1;
    for (int i = -kRefine; i <= kRefine; ++i) {
      if (i != 0) try_scale(middle + full * step * static_cast<float>(i));
    }
  }
  return best;
}

std::optional<graph::Quantizer> projection_quantizer(const Tensor& weight, int bits) {
  const auto values = weight.data<float>();
  if (weight.dim(0) != 1 || values.size() < 4 || values.size() > 16) return std::nullopt;
  const float tolerance = bits <= 4 ? 0.1F : 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(std::abs(values[i] - static_cast<float>(i)) <= tolerance)) return std::nullopt;
  }
  graph::Quantizer quantizer;
  quantizer.bits = 4;
  quantizer.qmin = 0;
  quantizer.qmax = 15;
  quantizer.axis = 0;
  quantizer.scale.assign(weight.dim(0), 1.0F);
  quantizer.zero_point.assign(weight.dim(0), 0);
  return quantizer;
}

graph::Quantizer choose_weight_quantizer(const Tensor& weight, const WeightScaleOptions& options) {
  if (!valid_weight_bits(options.bits)) fail("{} weight bits: 2 to 8 are supported", options.bits);
  if (weight.rank() == 0 || weight.size() == 0) {
    fail("weight of shape {} has nothing to quantize", shape_string(weight.shape()));
  }
  const auto values = weight.data<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) fail("weight {} of {} is {}", i, values.size(), values[i]);
  }
  if (auto projection = projection_quantizer(weight, options.bits)) return *projection;
  graph::Quantizer quantizer = signed_quantizer(options);
  const auto scale_of = [&](std::span<const float> part) {
    return options.method == WeightScaleMethod::kAbsMax
               ? absmax_scale(part, quantizer.qmax)
               : search_scale(part, quantizer.qmin, quantizer.qmax, options.norm);
  };
  if (options.granularity == Granularity::kPerTensor) {
    quantizer.scale = {scale_of(values)};
    quantizer.zero_point = {0};
    return quantizer;
  }
  const auto channels = static_cast<size_t>(weight.dim(0));
  const size_t inner = values.size() / channels;
  quantizer.axis = 0;
  quantizer.scale.resize(channels);
  quantizer.zero_point.assign(channels, 0);
  parallel_for(channels, options.threads, [&](size_t channel) {
    quantizer.scale[channel] = scale_of(values.subspan(channel * inner, inner));
  });
  return quantizer;
}

}  // namespace yoloquant::quant
