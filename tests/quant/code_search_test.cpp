#include "quant/code_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quant/rounding_problems.h"

namespace yoloquant::quant {
namespace {

constexpr int kLowest = -2;
constexpr int kHighest = 1;
constexpr float kScale = 0.3F;

// A search works in the problem's order of columns.
std::vector<float> make_target(const RoundingProblem& problem, uint64_t seed) {
  const std::vector<float> row =
      uniform_row(problem.size, kLowest * kScale, kHighest * kScale, seed);
  std::vector<float> target;
  for (const int64_t column : problem.order) target.push_back(row[column]);
  return target;
}

double error_of(RoundingProblem problem, const std::vector<float>& target, std::vector<float> codes,
                float scale) {
  std::iota(problem.order.begin(), problem.order.end(), int64_t{0});
  for (float& code : codes) code *= scale;
  return error_of(problem, target, codes);
}

// Of all codes there are.
double least_error(const RoundingProblem& problem, const std::vector<float>& target) {
  std::vector<float> codes(target.size(), kLowest);
  double least = INFINITY;
  while (true) {
    least = std::min(least, error_of(problem, target, codes, kScale));
    size_t j = 0;
    while (j < codes.size() && codes[j] == kHighest) codes[j++] = kLowest;
    if (j == codes.size()) return least;
    codes[j] += 1;
  }
}

TEST(CodeSearch, FindsTheBestOfAllCodesOfSmallRows) {
  constexpr int64_t kColumns = 7;
  int found = 0;
  int at_first = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const RoundingProblem problem = correlated_problem(kColumns, 0, seed);
    const std::vector<float> target = make_target(problem, seed + 100);
    const double least = least_error(problem, target);
    CodeSearch search(problem, target, kLowest, kHighest);
    const std::vector<float> start(kColumns, 0.0F);
    search.set(start, kScale);
    at_first += search.search(kColumns) < least * 1.001 ? 1 : 0;
    search.set(start, kScale);
    found += search.search(200) < least * 1.001 ? 1 : 0;
  }
  EXPECT_GE(found, 19);
  // Otherwise the problems would be too easy to tell.
  EXPECT_LE(at_first, 14);
}

TEST(CodeSearch, KeepsTheBestCodesItMetAndReportsTheirError) {
  constexpr int64_t kColumns = 40;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const RoundingProblem problem = correlated_problem(kColumns, 0, seed);
    const std::vector<float> target = make_target(problem, seed + 200);
    CodeSearch search(problem, target, kLowest, kHighest);
    std::vector<float> nearest;
    for (const float value : target) {
      nearest.push_back(std::clamp(std::nearbyint(value / kScale), -2.0F, 1.0F));
    }
    double last = search.set(nearest, kScale);
    EXPECT_NEAR(last, error_of(problem, target, nearest, kScale), 1e-3 * last);
    for (const int64_t moves : {1, 20, 200}) {
      search.set(nearest, kScale);
      const double error = search.search(moves);
      EXPECT_LE(error, last * 1.0001) << moves;
      EXPECT_NEAR(error, error_of(problem, target, search.codes(), kScale), 1e-3 * error);
      for (const float code : search.codes()) {
        EXPECT_EQ(code, std::nearbyint(code));
        EXPECT_TRUE(code >= kLowest && code <= kHighest) << code;
      }
      last = error;
    }
  }
}

TEST(CodeSearch, FitsTheScaleToTheCodes) {
  constexpr int64_t kColumns = 12;
  const RoundingProblem problem = correlated_problem(kColumns, 0, 1);
  const std::vector<float> target = make_target(problem, 2);
  CodeSearch search(problem, target, kLowest, kHighest);
  search.set(std::vector<float>(kColumns, 0.0F), 0.2F);
  search.search(50);
  const std::vector<float> codes = search.codes();
  const float best = search.best_scale();
  const double error = search.set(codes, best);
  EXPECT_LT(error, search.set(codes, best * 1.02F));
  EXPECT_LT(error, search.set(codes, best / 1.02F));
}

}  // namespace
}  // namespace yoloquant::quant
