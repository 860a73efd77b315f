#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>

#include <vector>

#include "base/random.h"
#include "quant/rounding_problem.h"

// Problems and rows for the tests of rounding.
namespace yoloquant::quant {

// Strongly correlated columns, so that rounding them one by one does badly; of five sizes that
// differ by `spread`.
inline RoundingProblem correlated_problem(int64_t columns, double spread, uint64_t seed) {
  Random random(seed);
  const int64_t samples = 4 * columns;
  at::Tensor x = at::empty({samples, columns}, at::TensorOptions(c10::ScalarType::Double));
  auto* value = x.mutable_data_ptr<double>();
  for (int64_t s = 0; s < samples; ++s) {
    const double common = random.uniform(-2, 2);
    for (int64_t j = 0; j < columns; ++j) {
      *value++ = (common + random.uniform(-1, 1)) * (1 + spread * static_cast<double>(j % 5));
    }
  }
  return rounding_problem(at::matmul(x.t(), x).div_(static_cast<double>(samples)), 1e-3);
}

inline std::vector<float> uniform_row(int64_t columns, float low, float high, uint64_t seed) {
  Random random(seed);
  std::vector<float> row(static_cast<size_t>(columns));
  for (float& value : row) value = random.uniform(low, high);
  return row;
}

// d H d' for values in the caller's order of columns.
inline double error_of(const RoundingProblem& problem, const std::vector<float>& target,
                       const std::vector<float>& values) {
  double error = 0;
  for (int64_t i = 0; i < problem.size; ++i) {
    for (int64_t j = 0; j < problem.size; ++j) {
      const int64_t a = problem.order[i];
      const int64_t b = problem.order[j];
      error += static_cast<double>(problem.hessian[i * problem.size + j]) *
               (values[a] - target[a]) * (values[b] - target[b]);
    }
  }
  return error;
}

}  // namespace yoloquant::quant
