#include "quant/observer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "quant/activation_range.h"

namespace yoloquant::quant {
namespace {

// What follows a SiLU.
std::vector<float> activations(size_t count, uint64_t seed, float size = 3) {
  Random random(seed);
  std::vector<float> result(count);
  for (float& value : result) {
    float x = 0;
    for (int i = 0; i < 4; ++i) x += random.uniform(-size, size);
    value = x / (1 + std::exp(-x));
  }
  return result;
}

std::vector<std::pair<double, uint64_t>> contents(const Histogram& histogram) {
  std::vector<std::pair<double, uint64_t>> result;
  for (const auto& bin : histogram.bins()) result.emplace_back(bin.low, bin.count);
  return result;
}

void add(Histogram& histogram, const std::vector<float>& values) {
  float magnitude = 0;
  for (const float x : values) magnitude = std::max(magnitude, std::abs(x));
  histogram.add(values, magnitude);
}

TEST(Histogram, CountsEachValueInItsBin) {
  Histogram histogram;
  const auto values = activations(1001, 1);
  add(histogram, values);
  EXPECT_EQ(histogram.total(), 1001U);
  uint64_t total = 0;
  for (const auto& bin : histogram.bins()) {
    const auto expected = std::ranges::count_if(
        values, [&](float x) { return x >= bin.low && x < bin.low + histogram.width(); });
    EXPECT_EQ(static_cast<uint64_t>(expected), bin.count) << bin.low;
    total += bin.count;
  }
  EXPECT_EQ(total, 1001U);
}

TEST(Histogram, GrowsWithoutLosingCountsAndForgetsTheOrder) {
  const auto small = activations(500, 2, 0.01F);
  const auto medium = activations(300, 3, 1);
  const auto large = activations(70, 4, 1e6F);
  Histogram forward;
  for (const auto& part : {small, medium, large}) add(forward, part);
  Histogram backward;
  for (const auto& part : {large, medium, small}) add(backward, part);
  auto all = small;
  all.insert(all.end(), medium.begin(), medium.end());
  all.insert(all.end(), large.begin(), large.end());
  Histogram once;
  add(once, all);
  EXPECT_EQ(forward.total(), 870U);
  EXPECT_EQ(contents(forward), contents(once));
  EXPECT_EQ(contents(backward), contents(once));
}

TEST(Histogram, MergesAsIfSeenByOne) {
  for (const float size : {1e-3F, 1.0F, 1e5F}) {
    const auto a = activations(400, 5, 1);
    const auto b = activations(321, 6, size);
    Histogram merged;
    Histogram other;
    add(merged, a);
    add(other, b);
    merged.merge(other);
    merged.merge(Histogram());
    Histogram once;
    add(once, a);
    add(once, b);
    EXPECT_EQ(contents(merged), contents(once));
    EXPECT_EQ(merged.total(), once.total());
  }
}

TEST(Histogram, UsesAtLeastHalfOfOneSide) {
  for (const float magnitude : {1e-6F, 0.999F, 1.0F, 1.001F, 7e8F}) {
    Histogram histogram;
    histogram.add(std::vector<float>{magnitude, -magnitude, 0}, magnitude);
    EXPECT_GE(magnitude / histogram.width(), Histogram::kBins / 2) << magnitude;
    EXPECT_LE(magnitude / histogram.width(), Histogram::kBins) << magnitude;
    EXPECT_EQ(histogram.bins().size(), 3U);
  }
}

TEST(Histogram, TakesZerosAndExtremesOfFloat) {
  Histogram histogram;
  add(histogram, std::vector<float>(10, 0.0F));
  add(histogram, {std::numeric_limits<float>::denorm_min()});
  add(histogram, {std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()});
  EXPECT_EQ(histogram.total(), 13U);
  EXPECT_EQ(histogram.bins().size(), 3U);
}

TEST(ActivationObserver, MinimumAndMaximumAreExact) {
  for (const size_t count : {size_t{1}, size_t{63}, size_t{64}, size_t{1000}, size_t{200003}}) {
    auto values = activations(count, count);
    values[count / 2] = 77.25F;
    if (count > 1) values[count - 1] = -5.5F;
    ActivationObserver observer;
    observer.observe(values);
    EXPECT_EQ(observer.min(), *std::ranges::min_element(values));
    EXPECT_EQ(observer.max(), *std::ranges::max_element(values));
    EXPECT_EQ(observer.count(), count);
  }
}

TEST(ActivationObserver, SamplesLargeImagesInBoundedNumber) {
  ActivationObserver observer;
  for (uint64_t image = 0; image < 5; ++image) observer.observe(activations(500000, image));
  EXPECT_EQ(observer.count(), 2500000U);
  EXPECT_LE(observer.histogram().total(), 5 * 2 * ActivationObserver::kSamplesPerImage);
  EXPECT_GE(observer.histogram().total(), 5 * ActivationObserver::kSamplesPerImage);
}

TEST(ActivationObserver, RefusesValuesThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const size_t place : {size_t{0}, size_t{70}, size_t{129}}) {
      auto values = activations(130, 9);
      values[place] = bad;
      ActivationObserver observer;
      EXPECT_THROW(observer.observe(values), Error);
    }
  }
}

TEST(ActivationObserver, MergesAsIfSeenByOne) {
  const auto a = activations(1000, 1);
  const auto b = activations(2000, 2, 10);
  ActivationObserver first;
  first.observe(a);
  ActivationObserver second;
  second.observe(b);
  ActivationObserver both;
  both.observe(a);
  both.observe(b);
  ActivationObserver merged;
  merged.merge(second);
  merged.merge(first);
  merged.merge(ActivationObserver());
  EXPECT_EQ(merged.min(), both.min());
  EXPECT_EQ(merged.max(), both.max());
  EXPECT_EQ(merged.count(), both.count());
  EXPECT_EQ(contents(merged.histogram()), contents(both.histogram()));
}

ActivationObserver observer_of(const std::vector<float>& values) {
  ActivationObserver observer;
  observer.observe(values);
  return observer;
}

double exact_mse(const std::vector<float>& values, const graph::Quantizer& quantizer) {
  const Tensor x = Tensor::from<float>({static_cast<int64_t>(values.size())}, values);
  const Tensor restored = graph::dequantize(graph::quantize(x, quantizer), quantizer);
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += std::pow(static_cast<double>(values[i]) - restored.data<float>()[i], 2);
  }
  return sum / static_cast<double>(values.size());
}

TEST(ActivationRange, MinMaxAlwaysHoldsZero) {
  const auto positive = minmax_range(observer_of({2, 3, 4}));
  EXPECT_EQ(positive.low, 0);
  EXPECT_EQ(positive.high, 4);
  const auto negative = minmax_range(observer_of({-2, -3}));
  EXPECT_EQ(negative.low, -3);
  EXPECT_EQ(negative.high, 0);
  EXPECT_THROW(minmax_range(ActivationObserver()), Error);
}

TEST(ActivationRange, MeanOfExtremesIsOverImages) {
  ActivationObserver first;
  first.observe(std::vector<float>{1, 2, 8});
  first.observe(std::vector<float>{-3, 4}, false);
  ActivationObserver second;
  second.observe(std::vector<float>{-6, 0});
  first.merge(second);
  const auto range = mean_minmax_range(first);
  EXPECT_DOUBLE_EQ(range.low, (1.0 - 3 - 6) / 3);
  EXPECT_DOUBLE_EQ(range.high, (8.0 + 4 + 0) / 3);
  EXPECT_EQ(mean_minmax_range(observer_of({2, 3})).low, 0);
  EXPECT_THROW(mean_minmax_range(ActivationObserver()), Error);
}

TEST(ActivationRange, PercentileAgreesWithSortedSamples) {
  auto values = activations(60000, 21);
  const auto observer = observer_of(values);
  std::ranges::sort(values);
  for (const double p : {90.0, 99.0, 99.9, 99.99}) {
    const auto range = percentile_range(observer, p);
    const double width = observer.histogram().width();
    const auto rank = [&](double q) {
      return values[static_cast<size_t>(q / 100 * (static_cast<double>(values.size()) - 1))];
    };
    // The gap between neighbouring samples adds to the bin's width in the thin tail.
    EXPECT_NEAR(range.high, rank(p), 2 * width + (p > 99.9 ? 0.05 : 0.01)) << p;
    EXPECT_NEAR(range.low, std::min(0.0F, rank(100 - p)), 2 * width + 1e-3) << p;
  }
  const auto all = percentile_range(observer, 100);
  EXPECT_NEAR(all.high, values.back(), observer.histogram().width());
}

TEST(ActivationRange, HistogramErrorAgreesWithTheSamples) {
  const auto values = activations(60000, 22);
  const auto observer = observer_of(values);
  for (const int bits : {4, 6, 8}) {
    for (const bool symmetric : {false, true}) {
      for (const double clip : {1.0, 0.5}) {
        auto range = minmax_range(observer);
        range.high *= clip;
        const auto quantizer = activation_quantizer(range, bits, symmetric);
        const double exact = exact_mse(values, quantizer);
        EXPECT_NEAR(mean_squared_error(density_of(observer.histogram()), quantizer), exact,
                    exact * 0.02)
            << bits << symmetric << clip;
      }
    }
  }
}

TEST(ActivationRange, MseIsCloseToTheBestRange) {
  auto values = activations(50000, 23);
  values[100] = 60;  // an outlier that clipping should sacrifice at few bits
  const auto observer = observer_of(values);
  for (const int bits : {4, 8}) {
    for (const bool symmetric : {false, true}) {
      const auto found =
          activation_quantizer(mse_range(observer, bits, symmetric), bits, symmetric);
      double best = std::numeric_limits<double>::infinity();
      const auto all = minmax_range(observer);
      for (int i = 1; i <= 60; ++i) {
        for (const double low : {0.0, 0.25, 0.5, 0.75, 1.0}) {
          const ActivationRange range{all.low * low, all.high * i / 60};
          best = std::min(best, exact_mse(values, activation_quantizer(range, bits, symmetric)));
        }
      }
      EXPECT_LE(exact_mse(values, found), best * 1.05) << bits << symmetric;
    }
  }
}

TEST(ActivationRange, MseClipsNoMoreThanAllowed) {
  auto values = activations(50000, 23);
  values[100] = 60;
  values[200] = -20;
  const auto observer = observer_of(values);
  for (const bool symmetric : {false, true}) {
    const auto free = mse_range(observer, 4, symmetric);
    const auto held = mse_range(observer, 4, symmetric, {.norm = 2, .least_share = 0.65});
    EXPECT_LT(free.high, 39);
    EXPECT_NEAR(held.high, 39, 1e-3);
    EXPECT_LE(held.low, -13);
    // A large norm shuns large errors, that is, clipping.
    EXPECT_GT(mse_range(observer, 4, symmetric, {.norm = 8}).high, free.high);
  }
}

TEST(ActivationRange, ZeroIsAlwaysACode) {
  Random random(5);
  for (int i = 0; i < 2000; ++i) {
    ActivationRange range{-std::exp(random.uniform(-20, 20)), std::exp(random.uniform(-20, 20))};
    if (i % 3 == 0) range.low = 0;
    if (i % 3 == 1) range.high = 0;
    const int bits = 4 + i % 5;
    for (const bool symmetric : {false, true}) {
      const auto q = activation_quantizer(range, bits, symmetric);
      const Tensor zero = Tensor::from<float>({1}, std::vector<float>{0});
      graph::check(q, zero.shape());
      EXPECT_EQ(graph::dequantize(graph::quantize(zero, q), q).data<float>()[0], 0);
      // Both ends are reached to half a step.
      const Tensor ends = Tensor::from<float>(
          {2}, std::vector<float>{static_cast<float>(range.low), static_cast<float>(range.high)});
      const auto restored = graph::dequantize(graph::quantize(ends, q), q);
      EXPECT_NEAR(restored.data<float>()[0], range.low, 0.5001 * q.scale[0]);
      EXPECT_NEAR(restored.data<float>()[1], range.high, 0.5001 * q.scale[0]);
    }
  }
}

TEST(ActivationRange, ConstantZeroHasAScale) {
  const auto observer = observer_of(std::vector<float>(100, 0.0F));
  EXPECT_EQ(activation_quantizer(mse_range(observer, 8, false), 8, false).scale[0], 1);
  EXPECT_EQ(activation_quantizer(minmax_range(observer), 8, true).scale[0], 1);
  EXPECT_EQ(percentile_range(observer, 99).high, 0);
}

}  // namespace
}  // namespace yoloquant::quant
