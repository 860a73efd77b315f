#include "quant/row_rounding.h"

#include <algorithm>
#include <cmath>

namespace yoloquant::quant {

namespace {

constexpr float kLowestRatio = 0.45F;
constexpr float kHighestRatio = 1.1F;

float code_of(float value, float scale, const RoundingOptions& options) {
  return std::clamp(std::nearbyint(value / scale), static_cast<float>(options.qmin),
                    static_cast<float>(options.qmax));
}

// Codes by GPTQ: each column's rounding error is spread over the columns not yet rounded.
void greedy(const RoundingProblem& problem, const std::vector<float>& target, float scale,
            const RoundingOptions& options, std::vector<float>& work, std::vector<float>& codes) {
  const int64_t k = problem.size;
  work = target;
  for (int64_t j = 0; j < k; ++j) {
    const float* row = problem.factor.data() + j * k;
    codes[j] = code_of(work[j], scale, options);
    const float error = (work[j] - codes[j] * scale) / row[j];
    if (error == 0) continue;
    for (int64_t i = j + 1; i < k; ++i) work[i] -= error * row[i];
  }
}

// gradient = H (scale * codes - target); returns d H d'.
double residual(const RoundingProblem& problem, const std::vector<float>& target,
                const std::vector<float>& codes, float scale, std::vector<float>& gradient) {
  const int64_t k = problem.size;
  std::ranges::fill(gradient, 0.0F);
  for (int64_t j = 0; j < k; ++j) {
    const float d = codes[j] * scale - target[j];
    if (d == 0) continue;
    const float* row = problem.hessian.data() + j * k;
    for (int64_t i = 0; i < k; ++i) gradient[i] += d * row[i];
  }
  double error = 0;
  for (int64_t j = 0; j < k; ++j) {
    error += static_cast<double>(gradient[j]) * (codes[j] * scale - target[j]);
  }
  return error;
}

// Scale of least error for fixed codes: (q H w) / (q H q), from the gradient at the present scale.
float refit_scale(const RoundingProblem& problem, const std::vector<float>& codes, float scale,
                  const std::vector<float>& gradient) {
  const int64_t k = problem.size;
  double slope = 0;
  double curvature = 0;
  for (int64_t j = 0; j < k; ++j) {
    if (codes[j] == 0) continue;
    slope += static_cast<double>(codes[j]) * gradient[j];
    const float* row = problem.hessian.data() + j * k;
    float product = 0;
    for (int64_t i = 0; i < k; ++i) product += row[i] * codes[i];
    curvature += static_cast<double>(product) * codes[j];
  }
  if (!(curvature > 0)) return scale;
  const double better = scale - slope / curvature;
  return better > 0.25 * scale && better < 4.0 * scale ? static_cast<float>(better) : scale;
}

// One pass over the columns; each code moves to its best value given the others.
bool descend(const RoundingProblem& problem, float scale, const RoundingOptions& options,
             std::vector<float>& codes, std::vector<float>& gradient) {
  const int64_t k = problem.size;
  bool moved = false;
  for (int64_t j = 0; j < k; ++j) {
    const float* row = problem.hessian.data() + j * k;
    if (!(row[j] > 0)) continue;
    const float wanted = codes[j] * scale - gradient[j] / row[j];
    const float code = code_of(wanted, scale, options);
    const float change = (code - codes[j]) * scale;
    if (change == 0) continue;
    codes[j] = code;
    moved = true;
    for (int64_t i = 0; i < k; ++i) gradient[i] += change * row[i];
  }
  return moved;
}

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
  std::vector<float> work(k);
  std::vector<float> codes(k);
  std::vector<float> gradient(k);
  std::vector<float> best_codes(k);
  best.error = INFINITY;
  for (int c = 0; c < options.scale_candidates; ++c) {
    const float step =
        options.scale_candidates > 1
            ? static_cast<float>(c) / static_cast<float>(options.scale_candidates - 1)
            : 1.0F;
    const float scale = full * (kLowestRatio + (kHighestRatio - kLowestRatio) * step);
    greedy(problem, ordered, scale, options, work, codes);
    const double error = residual(problem, ordered, codes, scale, gradient);
    if (error < best.error) {
      best.error = error;
      best.scale = scale;
      best_codes = codes;
    }
  }

  codes = best_codes;
  float scale = best.scale;
  residual(problem, ordered, codes, scale, gradient);
  for (int sweep = 0; sweep < options.descent_sweeps; ++sweep) {
    scale = refit_scale(problem, codes, scale, gradient);
    residual(problem, ordered, codes, scale, gradient);
    const bool moved = descend(problem, scale, options, codes, gradient);
    const double error = residual(problem, ordered, codes, scale, gradient);
    if (error < best.error) {
      best.error = error;
      best.scale = scale;
      best_codes = codes;
    }
    if (!moved) break;
  }
  for (int64_t j = 0; j < k; ++j) best.values[problem.order[j]] = best_codes[j] * best.scale;
  return best;
}

}  // namespace yoloquant::quant
