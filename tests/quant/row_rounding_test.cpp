#include "quant/row_rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "quant/code_search.h"
#include "quant/weight_scale.h"

namespace yoloquant::quant {
namespace {

constexpr int64_t kColumns = 24;

// A correlated H and the factor that round_row needs, both by plain loops.
RoundingProblem make_problem(uint64_t seed) {
  Random random(seed);
  constexpr int64_t kSamples = 60;
  std::vector<double> x(kSamples * kColumns);
  for (int64_t s = 0; s < kSamples; ++s) {
    const double common = random.uniform(-1, 1);
    for (int64_t j = 0; j < kColumns; ++j) {
      x[s * kColumns + j] = (common + random.uniform(-1, 1)) * (1 + static_cast<double>(j % 5));
    }
  }
  std::vector<double> h(kColumns * kColumns, 0.0);
  for (int64_t s = 0; s < kSamples; ++s) {
    for (int64_t i = 0; i < kColumns; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        h[i * kColumns + j] += x[s * kColumns + i] * x[s * kColumns + j] / kSamples;
      }
    }
  }
  RoundingProblem problem;
  problem.size = kColumns;
  problem.order.resize(kColumns);
  std::iota(problem.order.begin(), problem.order.end(), int64_t{0});
  std::ranges::sort(problem.order, [&](int64_t a, int64_t b) {
    return h[a * kColumns + a] > h[b * kColumns + b];
  });
  std::vector<double> ordered(h.size());
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      ordered[i * kColumns + j] = h[problem.order[i] * kColumns + problem.order[j]];
    }
  }
  for (int64_t i = 0; i < kColumns; ++i) ordered[i * kColumns + i] += 0.01;
  problem.hessian.assign(ordered.begin(), ordered.end());
  // H^-1 = U' U with U upper, by Gauss-Jordan and Cholesky.
  std::vector<double> a = ordered;
  std::vector<double> inverse(h.size(), 0.0);
  for (int64_t i = 0; i < kColumns; ++i) {
    inverse[i * kColumns + i] = 1;
  }
  for (int64_t p = 0; p < kColumns; ++p) {
    const double pivot = a[p * kColumns + p];
    for (int64_t j = 0; j < kColumns; ++j) {
      a[p * kColumns + j] /= pivot;
      inverse[p * kColumns + j] /= pivot;
    }
    for (int64_t i = 0; i < kColumns; ++i) {
      const double factor = i == p ? 0 : a[i * kColumns + p];
      for (int64_t j = 0; j < kColumns; ++j) {
        a[i * kColumns + j] -= factor * a[p * kColumns + j];
        inverse[i * kColumns + j] -= factor * inverse[p * kColumns + j];
      }
    }
  }
  std::vector<double> u(h.size(), 0.0);
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = i; j < kColumns; ++j) {
      double sum = inverse[i * kColumns + j];
      for (int64_t k = 0; k < i; ++k) sum -= u[k * kColumns + i] * u[k * kColumns + j];
      u[i * kColumns + j] = i == j ? std::sqrt(sum) : sum / u[i * kColumns + i];
    }
  }
  problem.factor.assign(u.begin(), u.end());
  return problem;
}

std::vector<float> make_row(uint64_t seed) {
  Random random(seed);
  std::vector<float> row(kColumns);
  for (float& value : row) value = random.uniform(-1, 1);
  return row;
}

double error_of(const RoundingProblem& problem, const std::vector<float>& target,
                const std::vector<float>& values) {
  double error = 0;
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      const int64_t a = problem.order[i];
      const int64_t b = problem.order[j];
      error += static_cast<double>(problem.hessian[i * kColumns + j]) * (values[a] - target[a]) *
               (values[b] - target[b]);
    }
  }
  return error;
}

std::vector<float> nearest(const std::vector<float>& row) {
  const float scale = search_scale(row, -8, 7, 2.0);
  std::vector<float> rounded;
  for (const float w : row)
    rounded.push_back(std::clamp(std::nearbyint(w / scale), -8.0F, 7.0F) * scale);
  return rounded;
}

TEST(RoundRow, IsFarBetterThanNearestAndReportsItsError) {
  double ours = 0;
  double plain = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const RoundingProblem problem = make_problem(seed);
    const std::vector<float> row = make_row(seed + 100);
    const RoundedRow rounded = round_row(problem, row, {});
    const double error = error_of(problem, row, rounded.values);
    EXPECT_NEAR(rounded.error, error, 1e-3 * error + 1e-6);
    EXPECT_LE(error, error_of(problem, row, nearest(row)) * 1.0001);
    ours += error;
    plain += error_of(problem, row, nearest(row));
  }
  EXPECT_LT(ours, 0.5 * plain);
}

TEST(RoundRow, SearchMakesTheGreedyResultBetter) {
  double ratio = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const RoundingProblem problem = make_problem(seed);
    const std::vector<float> row = make_row(seed + 200);
    const double greedy = round_row(problem, row, {.moves = 0}).error;
    const double found = round_row(problem, row, {.moves = 4}).error;
    EXPECT_LE(found, greedy);
    ratio += found / greedy / 20;
  }
  EXPECT_LT(ratio, 0.97);
}

TEST(CodeSearch, TheGreedyPassKnowsItsError) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const RoundingProblem problem = make_problem(seed);
    const std::vector<float> row = make_row(seed + 300);
    CodeSearch search(problem, row, -8, 7);
    const double error = search.round_greedily(0.1F);
    const std::vector<float> codes = search.codes();
    EXPECT_NEAR(error, search.set(codes, 0.1F), 1e-3 * error);
  }
}

TEST(RoundRow, ValuesAreCodesTimesTheScale) {
  const RoundingProblem problem = make_problem(1);
  const std::vector<float> row = make_row(2);
  const RoundedRow rounded = round_row(problem, row, {.qmin = -4, .qmax = 3});
  for (const float value : rounded.values) {
    const float code = value / rounded.scale;
    EXPECT_NEAR(code, std::nearbyint(code), 1e-4);
    EXPECT_GE(code, -4.001F);
    EXPECT_LE(code, 3.001F);
  }
}

TEST(RoundRow, AZeroRowStaysZero) {
  const RoundedRow rounded = round_row(make_problem(1), std::vector<float>(kColumns, 0.0F), {});
  EXPECT_TRUE(std::ranges::all_of(rounded.values, [](float v) { return v == 0; }));
  EXPECT_GT(rounded.scale, 0);
}

}  // namespace
}  // namespace yoloquant::quant
