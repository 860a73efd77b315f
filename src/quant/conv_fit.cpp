#include "quant/conv_fit.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <utility>

#include "base/memory.h"
#include "base/parallel.h"
#include "exec/convert.h"
#include "quant/conv_columns.h"
#include "quant/rounding_problem.h"

namespace yoloquant::quant {

namespace {

// Second moments of a conv's inputs over the sampled positions, for each group; float64. Where the
// conv has a bias they are those about the means: the bias takes up the rest (see mean_change).
struct Moments {
  at::Tensor hessian;         // E[x' x''], [G, K, K]
  at::Tensor cross;           // E[x x''], [G, K, K]
  at::Tensor mean_quantized;  // E[x'], [G, K]
  at::Tensor mean_reference;  // E[x], [G, K]
};

Moments collect(const ConvToFit& conv, const FitOptions& options, Random& random) {
  const auto& op = std::get<graph::Conv>(conv.input.node.op);
  const Shape& weight = conv.weight.shape();
  Moments sum;
  // About what is close to the means, [G, 1, K]: taking large means off in the end would leave
  // rounding errors alone where inputs hardly vary.
  at::Tensor quantized_origin;
  at::Tensor reference_origin;
  int64_t rows = 0;
  PositionDraw draw{.per_image = std::max(options.positions / conv.input.images, options.per_image),
                    .weighted = options.weighted,
                    .weights = conv.weights};
  for (size_t b = 0; b < conv.input.batches; ++b) {
    const at::Tensor quantized = conv.input.quantized(b);
    const std::vector<Position> positions =
        draw_positions(op, weight[2], weight[3], quantized, draw, random);
    draw.first += quantized.size(0);
    at::Tensor q = gather_columns(op, weight[2], weight[3], quantized, positions);
    at::Tensor fp = gather_columns(op, weight[2], weight[3], conv.input.reference(b), positions);
    if (op.has_bias) {
      if (rows == 0) {
        quantized_origin = q.mean(1, /*keepdim=*/true);
        reference_origin = fp.mean(1, /*keepdim=*/true);
      }
      q.sub_(quantized_origin);
      fp.sub_(reference_origin);
    }
    if (rows == 0) {
      sum = {at::matmul(q.transpose(1, 2), q), at::matmul(fp.transpose(1, 2), q), q.sum(1),
             fp.sum(1)};
    } else {
      sum.hessian.baddbmm_(q.transpose(1, 2), q);
      sum.cross.baddbmm_(fp.transpose(1, 2), q);
      sum.mean_quantized += q.sum(1);
      sum.mean_reference += fp.sum(1);
    }
    rows += q.size(1);
  }
  const double scale = 1.0 / static_cast<double>(rows);
  for (at::Tensor* tensor : {&sum.hessian, &sum.cross, &sum.mean_quantized, &sum.mean_reference}) {
    *tensor = tensor->to(c10::ScalarType::Double).mul_(scale);
  }
  if (op.has_bias) {
    sum.hessian.baddbmm_(sum.mean_quantized.unsqueeze(2), sum.mean_quantized.unsqueeze(1), 1, -1);
    sum.cross.baddbmm_(sum.mean_reference.unsqueeze(2), sum.mean_quantized.unsqueeze(1), 1, -1);
    sum.mean_quantized += quantized_origin.squeeze(1);
    sum.mean_reference += reference_origin.squeeze(1);
  }
  return sum;
}

// The weights [R, K] that give the float outputs from quantized inputs, with ridge `lambda` towards
// the float weights.
at::Tensor output_target(const at::Tensor& weight, const at::Tensor& hessian,
                         const at::Tensor& cross, double lambda) {
  const at::Tensor whole = weight.to(c10::ScalarType::Double);
  const at::Tensor wanted = at::addmm(whole, whole, cross, /*beta=*/lambda);
  at::Tensor regular = hessian.clone();
  regular.diagonal().add_(lambda);
  if (hessian.size(0) == 1) return wanted.div(regular).to(c10::ScalarType::Float);
  // X regular = wanted; regular is symmetric and positive definite.
  at::Tensor lower = std::get<0>(at::linalg_cholesky_ex(regular));
  regular = at::Tensor();  // large
  return at::cholesky_solve(wanted.t().contiguous(), lower)
      .t()
      .to(c10::ScalarType::Float)
      .contiguous();
}

// Rounds the rows of one group into the rows of the conv from `first` on.
void round_group(const at::Tensor& target, const RoundingProblem& problem,
                 const RoundingOptions& options, int64_t first, FittedConv& fitted) {
  const int64_t k = target.size(1);
  const auto* data = target.const_data_ptr<float>();
  float* values = fitted.weight.mutable_data<float>().data() + first * k;
  float* scales = fitted.scale.data() + first;
  parallel_for(static_cast<size_t>(target.size(0)), 0, [&](size_t r) {
    const RoundedRow row = round_row(problem, {data + r * k, static_cast<size_t>(k)}, options);
    std::ranges::copy(row.values, values + static_cast<int64_t>(r) * k);
    scales[r] = row.scale;
  });
}

// W E[x] - W' E[x'].
std::vector<double> mean_change(const at::Tensor& rounded, const at::Tensor& weight,
                                const Moments& moments) {
  const auto product = [](const at::Tensor& w, const at::Tensor& mean) {
    return at::matmul(w.to(c10::ScalarType::Double), mean.unsqueeze(-1)).reshape({-1});
  };
  const at::Tensor change = product(weight, moments.mean_reference)
                                .sub(product(rounded, moments.mean_quantized))
                                .contiguous();
  const auto* values = change.const_data_ptr<double>();
  return {values, values + change.numel()};
}

}  // namespace

FittedConv fit_output(const ConvToFit& conv, CodeRange range, const FitOptions& options,
                      Random& random) {
  return std::move(fit_outputs(conv, {&range, 1}, options, random)[0]);
}

std::vector<FittedConv> fit_outputs(const ConvToFit& conv, std::span<const CodeRange> ranges,
                                    const FitOptions& options, Random& random) {
  Moments moments = collect(conv, options, random);
  release_free_memory();  // of columns
  const int64_t groups = moments.hessian.size(0);
  const int64_t rows = conv.weight.dim(0) / groups;
  const at::Tensor weight =
      exec::view_of(conv.weight).view({groups, rows, moments.hessian.size(1)});
  std::vector<FittedConv> results(ranges.size(),
                                  {Tensor(DType::kFloat32, conv.weight.shape()),
                                   std::vector<float>(static_cast<size_t>(conv.weight.dim(0))),
                                   {}});
  for (int64_t g = 0; g < groups; ++g) {
    at::Tensor hessian = moments.hessian[g];
    const double lambda = damping_of(hessian, options.damping);
    // Inputs that are always zero would make H singular; their weights do not matter.
    hessian.diagonal().add_(damping_of(hessian, 1e-6));
    const at::Tensor target = options.output_target
                                  ? output_target(weight[g], hessian, moments.cross[g], lambda)
                                  : weight[g].contiguous();
    if (g + 1 == groups) {  // rounding needs memory
      moments.cross = moments.hessian = at::Tensor();
      release_free_memory();
    }
    const RoundingProblem problem = rounding_problem(std::move(hessian), lambda);
    for (size_t i = 0; i < ranges.size(); ++i) {
      round_group(target, problem,
                  {.qmin = ranges[i].qmin,
                   .qmax = ranges[i].qmax,
                   .scale_candidates = options.scale_candidates,
                   .moves = options.moves},
                  g * rows, results[i]);
    }
  }
  for (FittedConv& result : results) {
    result.bias_change =
        mean_change(exec::view_of(result.weight).view(weight.sizes()), weight, moments);
  }
  return results;
}

}  // namespace yoloquant::quant
