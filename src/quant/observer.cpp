#include "quant/observer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "quant/simd.h"

namespace yoloquant::quant {
namespace {

constexpr size_t kChunk = 16;  // floats of a cache line: what sampling takes at once

struct Extremes {
  float min;
  float max;
  uint32_t magnitude;  // bits of the largest absolute value: NaN and infinity come out on top
};

// REQUIRES: count > 0.
YOLOQUANT_SIMD Extremes extremes(const float* values, size_t count) {
  constexpr size_t kLanes = 64;
  float low[kLanes];
  float high[kLanes];
  uint32_t magnitude[kLanes] = {};
  for (size_t j = 0; j < kLanes; ++j) low[j] = high[j] = values[0];
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float x = values[i + j];
      low[j] = x < low[j] ? x : low[j];
      high[j] = x > high[j] ? x : high[j];
      const uint32_t bits = std::bit_cast<uint32_t>(x) & 0x7FFFFFFFU;
      magnitude[j] = bits > magnitude[j] ? bits : magnitude[j];
    }
  }
  Extremes result{low[0], high[0], 0};
  for (size_t j = 0; j < kLanes; ++j) {
    result.min = low[j] < result.min ? low[j] : result.min;
    result.max = high[j] > result.max ? high[j] : result.max;
    result.magnitude = std::max(result.magnitude, magnitude[j]);
  }
  for (; i < count; ++i) {
    const float x = values[i];
    result.min = x < result.min ? x : result.min;
    result.max = x > result.max ? x : result.max;
    result.magnitude = std::max(result.magnitude, std::bit_cast<uint32_t>(x) & 0x7FFFFFFFU);
  }
  return result;
}

// Whole cache lines, one from each of equal stretches, at a place that a hash of its number gives:
// a fixed stride would keep hitting the same columns.
std::vector<float> sample(std::span<const float> values) {
  const size_t chunks = values.size() / kChunk;
  const size_t wanted = ActivationObserver::kSamplesPerImage / kChunk;
  const size_t stride = chunks / wanted;
  std::vector<float> result;
  result.reserve(wanted * kChunk);
  for (size_t i = 0; i < wanted; ++i) {
    const size_t chunk = i * stride + splitmix64_mix(i + 1) % stride;
    const auto* const begin = values.data() + chunk * kChunk;
    result.insert(result.end(), begin, begin + kChunk);
  }
  return result;
}

}  // namespace

void ActivationObserver::observe(std::span<const float> image, bool with_histogram) {
  if (image.empty()) return;
  const Extremes found = extremes(image.data(), image.size());
  if (found.magnitude >= 0x7F800000U) fail("an activation is NaN or infinite");
  min_ = empty() ? found.min : std::min(min_, found.min);
  max_ = empty() ? found.max : std::max(max_, found.max);
  count_ += image.size();
  min_sum_ += static_cast<double>(found.min);
  max_sum_ += static_cast<double>(found.max);
  ++images_;
  if (!with_histogram) return;
  // The width is set by all values, not by the sampled ones, so that it has to grow less often.
  const float magnitude = std::max(std::abs(min_), std::abs(max_));
  if (image.size() < 2 * kSamplesPerImage) {
    histogram_.add(image, magnitude);
  } else {
    histogram_.add(sample(image), magnitude);
  }
}

void ActivationObserver::merge(const ActivationObserver& other) {
  if (other.empty()) return;
  min_ = empty() ? other.min_ : std::min(min_, other.min_);
  max_ = empty() ? other.max_ : std::max(max_, other.max_);
  count_ += other.count_;
  min_sum_ += other.min_sum_;
  max_sum_ += other.max_sum_;
  images_ += other.images_;
  histogram_.merge(other.histogram_);
}

}  // namespace yoloquant::quant
