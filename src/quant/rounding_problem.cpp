#include "quant/rounding_problem.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_cholesky_ex.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"

namespace yoloquant::quant {

namespace {

std::vector<float> to_floats(const at::Tensor& matrix) {
  const at::Tensor plain = matrix.to(c10::ScalarType::Float).contiguous();
  const auto* values = plain.const_data_ptr<float>();
  return {values, values + plain.numel()};
}

}  // namespace

RoundingProblem rounding_problem(at::Tensor hessian, double lambda) {
  RoundingProblem problem;
  problem.size = hessian.size(0);
  const at::Tensor order =
      at::argsort(hessian.diagonal(), /*stable=*/true, /*dim=*/0, /*descending=*/true).contiguous();
  const auto* columns = order.const_data_ptr<int64_t>();
  problem.order.assign(columns, columns + problem.size);
  at::Tensor ordered = at::index_select(at::index_select(hessian, 0, order), 1, order);
  // Large matrices of doubles: each goes when the next is there.
  hessian = at::Tensor();
  ordered.diagonal().add_(lambda);
  problem.hessian = to_floats(ordered);
  auto [factor, info] = at::linalg_cholesky_ex(ordered);
  if (info.item<int>() != 0) fail("the inputs' second moments are not positive definite");
  ordered = at::cholesky_inverse(factor);
  factor = at::Tensor();
  std::tie(factor, info) = at::linalg_cholesky_ex(ordered, /*upper=*/true);
  if (info.item<int>() != 0) fail("the inputs' second moments cannot be inverted");
  problem.factor = to_floats(factor);
  return problem;
}

double damping_of(const at::Tensor& hessian, double share) {
  return share * std::max(hessian.diagonal().mean().item<double>(), 1e-10);
}

}  // namespace yoloquant::quant
