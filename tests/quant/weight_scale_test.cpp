#include "quant/weight_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace yoloquant::quant {
namespace {

// Bell-shaped, as weights are: a sum of uniforms.
std::vector<float> weights(size_t count, uint64_t seed, float size = 1) {
  Random random(seed);
  std::vector<float> result(count);
  for (float& w : result) {
    w = 0;
    for (int i = 0; i < 6; ++i) w += random.uniform(-size, size);
  }
  return result;
}

double brute_force_error(const std::vector<float>& w, int qmin, int qmax, double p) {
  float largest = 0;
  for (const float x : w) largest = std::max(largest, std::abs(x));
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= 3000; ++i) {
    const float ratio = 0.3F + 0.8F * static_cast<float>(i) / 3000;
    best = std::min(best,
                    rounding_error(w, ratio * largest / static_cast<float>(qmax), qmin, qmax, p));
  }
  return best;
}

TEST(SearchScale, IsWithinTwoPercentOfBruteForce) {
  for (const size_t count : {size_t{9}, size_t{64}, size_t{577}}) {
    for (const double p : {2.0, 2.4, 3.0}) {
      for (const int bits : {2, 4, 8}) {
        const int qmax = (1 << (bits - 1)) - 1;
        double found = 0;
        double best = 0;
        double absmax = 0;
        for (uint64_t seed = 1; seed <= 5; ++seed) {
          const auto w = weights(count, seed);
          float largest = 0;
          for (const float x : w) largest = std::max(largest, std::abs(x));
          const float scale = search_scale(w, -qmax - 1, qmax, p);
          found += rounding_error(w, scale, -qmax - 1, qmax, p);
          best += brute_force_error(w, -qmax - 1, qmax, p);
          absmax += rounding_error(w, largest / static_cast<float>(qmax), -qmax - 1, qmax, p);
        }
        EXPECT_LE(found, best * 1.02) << count << " " << p << " " << bits;
        EXPECT_LE(found, absmax);
      }
    }
  }
}

TEST(SearchScale, FollowsTheSizeOfTheWeights) {
  const auto w = weights(200, 3);
  auto large = w;
  for (float& x : large) x *= 1024;
  EXPECT_FLOAT_EQ(search_scale(large, -8, 7, 2.4), 1024 * search_scale(w, -8, 7, 2.4));
  auto tiny = w;
  for (float& x : tiny) x *= 1e-20F;
  EXPECT_NEAR(search_scale(tiny, -8, 7, 2.4) / 1e-20F / search_scale(w, -8, 7, 2.4), 1, 1e-3);
}

TEST(SearchScale, HasAnAnswerForZeroAndDenormalWeights) {
  EXPECT_EQ(search_scale(std::vector<float>(20, 0.0F), -8, 7, 2.4), 1);
  EXPECT_EQ(search_scale(std::vector<float>(20, 1e-41F), -8, 7, 2.4), 1);
}

TEST(ChooseWeightQuantizer, CodesAndScalesFitTheOptions) {
  const Tensor weight = Tensor::from<float>({4, 3, 3, 3}, weights(108, 7));
  for (const int bits : {2, 3, 4, 5, 6, 7, 8}) {
    const auto q = choose_weight_quantizer(weight, {.bits = bits});
    graph::check(q, weight.shape());
    EXPECT_EQ(q.axis, 0);
    EXPECT_EQ(q.scale.size(), 4U);
    EXPECT_EQ(q.qmin, -(1 << (bits - 1)));
    EXPECT_EQ(q.qmax, (1 << (bits - 1)) - 1);
  }
  const auto narrow = choose_weight_quantizer(
      weight, {.bits = 4, .narrow_range = true, .granularity = Granularity::kPerTensor});
  EXPECT_EQ(narrow.qmin, -7);
  EXPECT_EQ(narrow.axis, -1);
  EXPECT_EQ(narrow.scale.size(), 1U);
}

TEST(ChooseWeightQuantizer, AbsMaxHoldsTheLargestWeight) {
  const Tensor weight = Tensor::from<float>({2, 2}, std::vector<float>{0.5F, -14.0F, 3.5F, 0});
  const auto q = choose_weight_quantizer(weight, {.bits = 4, .method = WeightScaleMethod::kAbsMax});
  EXPECT_FLOAT_EQ(q.scale[0], 2);
  EXPECT_FLOAT_EQ(q.scale[1], 0.5F);
}

TEST(ChooseWeightQuantizer, DoesNotDependOnThreads) {
  const Tensor weight = Tensor::from<float>({64, 9}, weights(576, 11));
  const auto one = choose_weight_quantizer(weight, {.bits = 4, .threads = 1});
  const auto many = choose_weight_quantizer(weight, {.bits = 4, .threads = 5});
  EXPECT_EQ(one.scale, many.scale);
}

TEST(ChooseWeightQuantizer, DflProjectionIsExactInEveryScheme) {
  std::vector<float> projection(16);
  for (size_t i = 0; i < 16; ++i) projection[i] = static_cast<float>(i);
  const Tensor weight = Tensor::from<float>({1, 16, 1, 1}, projection);
  for (const int bits : {2, 4, 8}) {
    for (const auto granularity : {Granularity::kPerChannel, Granularity::kPerTensor}) {
      const auto q = choose_weight_quantizer(weight, {.bits = bits, .granularity = granularity});
      EXPECT_EQ(q.bits, 4);
      EXPECT_EQ(q.qmin, 0);
      EXPECT_EQ(q.qmax, 15);
      EXPECT_TRUE(equal(graph::dequantize(graph::quantize(weight, q), q), weight));
    }
  }
}

TEST(ChooseWeightQuantizer, ProjectionWithEightBitErrorsIsRepairedAtFewBits) {
  std::vector<float> rounded(16);
  for (size_t i = 0; i < 16; ++i) {
    rounded[i] = std::nearbyint(static_cast<float>(i) / 15 * 127) * 15 / 127;
  }
  const Tensor weight = Tensor::from<float>({1, 16, 1, 1}, rounded);
  const auto four = choose_weight_quantizer(weight, {.bits = 4});
  EXPECT_EQ(four.qmax, 15);
  const Tensor repaired = graph::dequantize(graph::quantize(weight, four), four);
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(repaired.data<float>()[i], static_cast<float>(i));
  const auto eight = choose_weight_quantizer(weight, {.bits = 8});
  EXPECT_EQ(eight.qmax, 127);
  EXPECT_LT(rounding_error(rounded, eight.scale[0], -128, 127, 2), 1e-6);
}

TEST(ChooseWeightQuantizer, OtherWholeNumbersAreNoProjection) {
  const auto is_projection = [](const std::vector<float>& values, Shape shape) {
    return projection_quantizer(Tensor::from<float>(std::move(shape), values), 4).has_value();
  };
  EXPECT_TRUE(is_projection({0, 1, 2, 3}, {1, 4}));
  EXPECT_FALSE(is_projection({0, 1, 2, 4}, {1, 4}));
  EXPECT_FALSE(is_projection({3, 2, 1, 0}, {1, 4}));
  EXPECT_FALSE(is_projection({0, 1, 2, 3.2F}, {1, 4}));
  EXPECT_FALSE(is_projection({0, 1, 2, 3}, {4, 1}));
  EXPECT_FALSE(is_projection({0, 1}, {1, 2}));
  std::vector<float> many(17);
  for (size_t i = 0; i < 17; ++i) many[i] = static_cast<float>(i);
  EXPECT_FALSE(is_projection(many, {1, 17}));
}

TEST(ChooseWeightQuantizer, RefusesWeightsThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Tensor weight = Tensor::from<float>({1, 3}, std::vector<float>{1, bad, 2});
    EXPECT_THROW(choose_weight_quantizer(weight, {}), Error);
  }
  EXPECT_THROW(choose_weight_quantizer(Tensor(DType::kFloat32, {0, 3}), {}), Error);
  EXPECT_THROW(choose_weight_quantizer(Tensor(DType::kFloat32, {1, 3}), {.bits = 9}), Error);
}

}  // namespace
}  // namespace yoloquant::quant
