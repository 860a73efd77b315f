#include "quant/row_rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "quant/code_search.h"
#include "quant/rounding_problems.h"
#include "quant/weight_scale.h"

namespace yoloquant::quant {
namespace {

constexpr int64_t kColumns = 24;

RoundingProblem make_problem(uint64_t seed) { return correlated_problem(kColumns, 1, seed); }

std::vector<float> make_row(uint64_t seed) { return uniform_row(kColumns, -1, 1, seed); }

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
