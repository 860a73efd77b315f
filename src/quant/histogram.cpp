#include "quant/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "quant/simd.h"

namespace yoloquant::quant {
namespace {

constexpr int kLogBins = 13;
static_assert(Histogram::kBins == 1 << kLogBins);
constexpr int kSmallestExponent = -120;  // narrower bins would need a factor beyond float

// The narrowest width 2^e with floor(+-magnitude / 2^e) in [-kBins, kBins).
int exponent_for(float magnitude) {
  if (magnitude == 0) return kSmallestExponent;
  // magnitude is in [2^(ilogb), 2^(ilogb + 1)).
  return std::max(std::ilogb(magnitude) + 1 - kLogBins, kSmallestExponent);
}

constexpr size_t kBlock = 64;

// Index of the bin of each of kBlock values.
YOLOQUANT_SIMD void bin_indices(const float* values, float per_width, int32_t* indices) {
  for (size_t i = 0; i < kBlock; ++i) {
    const float position = values[i] * per_width;
    const auto toward_zero = static_cast<int32_t>(position);
    const int32_t floor = toward_zero - (static_cast<float>(toward_zero) > position ? 1 : 0);
    indices[i] = floor + Histogram::kBins;
  }
}

}  // namespace

double Histogram::width() const { return std::ldexp(1.0, exponent_); }

void Histogram::fit(float magnitude) {
  const int exponent = exponent_for(magnitude);
  if (counts_.empty()) {
    counts_.assign(size_t{2} * kBins, 0);
    exponent_ = exponent;
  } else if (exponent > exponent_) {
    coarsen(exponent);
  }
}

void Histogram::coarsen(int exponent) {
  const int shift = std::min(exponent - exponent_, kLogBins + 1);
  std::vector<uint64_t> merged(counts_.size(), 0);
  for (int i = -kBins; i < kBins; ++i) {
    merged[static_cast<size_t>((i >> shift) + kBins)] += counts_[static_cast<size_t>(i + kBins)];
  }
  counts_ = std::move(merged);
  exponent_ = exponent;
}

void Histogram::add(std::span<const float> values, float magnitude) {
  if (values.empty()) return;
  fit(magnitude);
  const auto per_width = static_cast<float>(std::ldexp(1.0, -exponent_));
  uint64_t* const counts = counts_.data();
  int32_t indices[kBlock];
  size_t i = 0;
  for (; i + kBlock <= values.size(); i += kBlock) {
    bin_indices(values.data() + i, per_width, indices);
    for (const int32_t index : indices) ++counts[index];
  }
  if (i < values.size()) {
    float rest[kBlock] = {};
    std::copy(values.begin() + static_cast<ptrdiff_t>(i), values.end(), rest);
    bin_indices(rest, per_width, indices);
    for (size_t j = 0; j < values.size() - i; ++j) ++counts[indices[j]];
  }
  total_ += values.size();
}

void Histogram::merge(const Histogram& other) {
  if (other.counts_.empty()) return;
  if (counts_.empty()) {
    *this = other;
    return;
  }
  if (other.exponent_ > exponent_) coarsen(other.exponent_);
  const int shift = std::min(exponent_ - other.exponent_, kLogBins + 1);
  for (int i = -kBins; i < kBins; ++i) {
    counts_[static_cast<size_t>((i >> shift) + kBins)] +=
        other.counts_[static_cast<size_t>(i + kBins)];
  }
  total_ += other.total_;
}

std::vector<Histogram::Bin> Histogram::bins() const {
  std::vector<Bin> result;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] == 0) continue;
    result.push_back({(static_cast<double>(i) - kBins) * width(), counts_[i]});
  }
  return result;
}

}  // namespace yoloquant::quant
