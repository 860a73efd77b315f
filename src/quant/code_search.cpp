#include "quant/code_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "quant/rounding_problem.h"
#include "quant/row_rounding.h"
#include "quant/simd.h"

namespace yoloquant::quant {

namespace {

constexpr int64_t kLanes = 16;
constexpr float kNever = std::numeric_limits<float>::max();

struct Columns {
  const float* codes;
  const float* gradient;
  const float* diagonal;
  const float* rest_until;
  float scale;
  float qmin;
  float qmax;
  float now;
};

// What the error gains when column j takes the step that its gradient asks for.
[[gnu::always_inline]] inline float gain_of(const Columns& c, int64_t j) {
  const float g = c.gradient[j];
  const float next = c.codes[j] + (g > 0 ? -1.0F : 1.0F);
  const float gain = c.scale * (c.scale * c.diagonal[j] - 2 * std::abs(g));
  const bool is_code = (next >= c.qmin) & (next <= c.qmax);
  return is_code & (c.rest_until[j] <= c.now) ? gain : kNever;
}

// Sets the gains of all columns and returns the least. Least of lanes first, which vectorizes.
YOLOQUANT_SIMD float least_gain(const Columns& c, int64_t size, float* gains) {
  std::array<float, kLanes> least;
  least.fill(kNever);
  int64_t j = 0;
  for (; j + kLanes <= size; j += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) {
      const float gain = gain_of(c, j + l);
      gains[j + l] = gain;
      least[l] = gain < least[l] ? gain : least[l];
    }
  }
  for (; j < size; ++j) {
    gains[j] = gain_of(c, j);
    least[0] = std::min(least[0], gains[j]);
  }
  return *std::ranges::min_element(least);
}

YOLOQUANT_SIMD void add_scaled(float factor, const float* row, float* sum, int64_t size) {
  for (int64_t i = 0; i < size; ++i) sum[i] += factor * row[i];
}

}  // namespace

CodeSearch::CodeSearch(const RoundingProblem& problem, std::span<const float> target, int qmin,
                       int qmax)
    : problem_(problem),
      target_(target),
      qmin_(static_cast<float>(qmin)),
      qmax_(static_cast<float>(qmax)),
      codes_(target.size()),
      gradient_(target.size()),
      diagonal_(target.size()),
      rest_until_(target.size()) {
  for (size_t j = 0; j < target.size(); ++j) {
    diagonal_[j] = problem.hessian[j * target.size() + j];
  }
}

double CodeSearch::evaluate() {
  const int64_t k = problem_.size;
  std::ranges::fill(gradient_, 0.0F);
  for (int64_t j = 0; j < k; ++j) {
    const float d = codes_[j] * scale_ - target_[j];
    if (d != 0) add_scaled(d, problem_.hessian.data() + j * k, gradient_.data(), k);
  }
  error_ = 0;
  for (int64_t j = 0; j < k; ++j) {
    error_ += static_cast<double>(gradient_[j]) * (codes_[j] * scale_ - target_[j]);
  }
  return error_;
}

double CodeSearch::round_greedily(float scale) {
  const int64_t k = problem_.size;
  std::vector<float> rest(target_.begin(), target_.end());
  scale_ = scale;
  double sum = 0;
  for (int64_t j = 0; j < k; ++j) {
    const float* row = problem_.factor.data() + j * k;
    codes_[j] = std::clamp(std::nearbyint(rest[j] / scale), qmin_, qmax_);
    const float error = (rest[j] - codes_[j] * scale) / row[j];
    if (error != 0) add_scaled(-error, row + j, rest.data() + j, k - j);
    sum += static_cast<double>(error) * error;
  }
  return sum;
}

double CodeSearch::set(const std::vector<float>& codes, float scale) {
  codes_ = codes;
  return set_scale(scale);
}

double CodeSearch::set_scale(float scale) {
  scale_ = scale;
  return evaluate();
}

float CodeSearch::best_scale() const {
  const int64_t k = problem_.size;
  std::vector<float> product(codes_.size(), 0.0F);  // H q
  double slope = 0;
  for (int64_t j = 0; j < k; ++j) {
    if (codes_[j] == 0) continue;
    slope += static_cast<double>(codes_[j]) * gradient_[j];
    add_scaled(codes_[j], problem_.hessian.data() + j * k, product.data(), k);
  }
  double curvature = 0;
  for (int64_t j = 0; j < k; ++j) curvature += static_cast<double>(product[j]) * codes_[j];
  if (!(curvature > 0)) return scale_;
  const double better = scale_ - slope / curvature;
  return better > 0.25 * scale_ && better < 4.0 * scale_ ? static_cast<float>(better) : scale_;
}

double CodeSearch::search(int64_t moves) {
  const int64_t k = problem_.size;
  Random random(static_cast<uint64_t>(k));
  double error = error_;
  double least = error;
  std::vector<float> best = codes_;
  std::vector<float> gains(codes_.size());
  std::ranges::fill(rest_until_, 0.0F);
  Columns columns{codes_.data(),
                  gradient_.data(),
                  diagonal_.data(),
                  rest_until_.data(),
                  scale_,
                  qmin_,
                  qmax_,
                  0};
  for (int64_t done = 0; done < moves; ++done) {
    columns.now = static_cast<float>(done);
    const float gain = least_gain(columns, k, gains.data());
    if (gain == kNever) continue;
    const int64_t chosen = std::ranges::find(gains, gain) - gains.begin();
    const float step = gradient_[chosen] > 0 ? -1.0F : 1.0F;
    codes_[chosen] += step;
    add_scaled(step * scale_, problem_.hessian.data() + chosen * k, gradient_.data(), k);
    error += gain;
    const int64_t rest = 1 + k / 50 + static_cast<int64_t>(random.below(10));
    rest_until_[chosen] = static_cast<float>(done + 1 + rest);
    if (error < least) {
      least = error;
      best = codes_;
    }
  }
  return set(best, scale_);
}

}  // namespace yoloquant::quant
