#pragma once

#include <ATen/core/Tensor.h>

#include "quant/row_rounding.h"

namespace yoloquant::quant {

// Prepares H [K, K] (symmetric, float32 or float64) for round_row, with `lambda` added to the
// diagonal: what few images say about H is not to be fitted to the last. Throws Error when H is not
// positive definite then.
RoundingProblem rounding_problem(at::Tensor hessian, double lambda);

// `share` of the mean of H's diagonal, which must not be zero for H to be solved with.
double damping_of(const at::Tensor& hessian, double share);

}  // namespace yoloquant::quant
