#include "quant/row_rounding.h"

#include <algorithm>
#include <cmath>

#include "quant/code_search.h"

namespace yoloquant::quant {

namespace {

constexpr float kLowestRatio = 0.45F;
constexpr float kHighestRatio = 1.1F;
constexpr int kRounds = 3;       // of search, the scale fitted to the codes before each
constexpr int64_t kMoves = 100;  // at least, in a round

}  // namespace

RoundedRow round_row(const RoundingProblem& problem, std::span<const float> target,
                     const RoundingOptions& options) {
  const int64_t k = problem.size;
  std::vector<float> ordered(k);
  float largest = 0;
  for (int64_t j = 0; j < k; ++j) {
    ordered[j] = target[problem.order[j]];
    largest = std::max(largest, std::abs(ordered[j]));
  }
  RoundedRow best;
  best.values.assign(k, 0.0F);
  if (largest < 1e-30F) return best;

  const float full = largest / static_cast<float>(options.qmax);
  std::vector<float> best_codes;
  CodeSearch search(problem, ordered, options.qmin, options.qmax);
  const auto keep_better = [&](double error) {
    if (!(error < best.error)) return false;
    best.error = error;
    best.scale = search.scale();
    best_codes = search.codes();
    return true;
  };
  best.error = INFINITY;
  for (int c = 0; c < options.scale_candidates; ++c) {
    const float step =
        options.scale_candidates > 1
            ? static_cast<float>(c) / static_cast<float>(options.scale_candidates - 1)
            : 1.0F;
    const float scale = full * (kLowestRatio + (kHighestRatio - kLowestRatio) * step);
    keep_better(search.round_greedily(scale));
  }

  const auto moves = static_cast<int64_t>(options.moves * static_cast<double>(k)) + kMoves;
  best.error = search.set(best_codes, best.scale);
  for (int round = 0; options.moves > 0 && round < kRounds; ++round) {
    search.set_scale(search.best_scale());
    if (!keep_better(search.search(moves))) break;
  }
  for (int64_t j = 0; j < k; ++j) best.values[problem.order[j]] = best_codes[j] * best.scale;
  return best;
}

}  // namespace yoloquant::quant
