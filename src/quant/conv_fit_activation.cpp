#include <ATen/ops/cat.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/sigmoid.h>

#include <algorithm>
#include <utility>

#include "base/parallel.h"
#include "exec/convert.h"
#include "quant/conv_columns.h"
#include "quant/conv_fit.h"
#include "quant/rounding_problem.h"

namespace yoloquant::quant {

namespace {

// Sampled positions of a conv, for each group.
struct Samples {
  at::Tensor columns;   // x', [G, P, K]
  at::Tensor residual;  // W x - W x', [G, R, P]
  at::Tensor slope;     // squared slope of SiLU at the float output, at least the floor, [G, R, P]
};

Samples collect(const ConvToFit& conv, const at::Tensor& weight, const FitOptions& options,
                Random& random) {
  const auto& op = std::get<graph::Conv>(conv.input.node.op);
  const Shape& shape = conv.weight.shape();
  std::vector<at::Tensor> columns;
  std::vector<at::Tensor> outputs;  // W x
  PositionDraw draw{.per_image = std::max<int64_t>(options.positions / conv.input.images, 1),
                    .weighted = options.weighted,
                    .weights = conv.weights};
  for (size_t b = 0; b < conv.input.batches; ++b) {
    const at::Tensor quantized = conv.input.quantized(b);
    const std::vector<Position> positions =
        draw_positions(op, shape[2], shape[3], quantized, draw, random);
    draw.first += quantized.size(0);
    columns.push_back(gather_columns(op, shape[2], shape[3], quantized, positions));
    const at::Tensor reference =
        gather_columns(op, shape[2], shape[3], conv.input.reference(b), positions);
    outputs.push_back(at::matmul(weight, reference.transpose(1, 2)));
  }
  Samples samples;
  samples.columns = at::cat(columns, 1);
  columns.clear();
  const at::Tensor output = at::cat(outputs, 2);
  samples.residual = output.sub(at::matmul(weight, samples.columns.transpose(1, 2)));
  const at::Tensor bias = exec::view_of(*conv.bias).view({weight.size(0), weight.size(1), 1});
  const at::Tensor z = output.add(bias);
  const at::Tensor gate = at::sigmoid(z);
  // d/dz z s(z) = s (1 + z (1 - s)).
  samples.slope =
      gate.mul(z.mul(gate.neg().add(1)).add(1)).square_().add_(options.slope_floor).contiguous();
  return samples;
}

struct FittedRow {
  RoundedRow rounded;
  double bias_change = 0;
};

// One output channel, from the positions that matter to it: x [T, K], residual [T].
FittedRow fit_row(const at::Tensor& weight, const at::Tensor& x, const at::Tensor& residual,
                  const FitOptions& options, const RoundingOptions& rounding) {
  const double scale = 1.0 / static_cast<double>(x.size(0));
  at::Tensor hessian = at::mm(x.t(), x).mul_(scale);
  const double lambda = damping_of(hessian, options.damping);
  hessian.diagonal().add_(damping_of(hessian, 1e-5));
  at::Tensor target = weight;
  if (options.output_target) {
    at::Tensor regular = hessian.clone();
    regular.diagonal().add_(lambda);
    const auto [lower, info] = at::linalg_cholesky_ex(regular);
    const at::Tensor right = at::mv(x.t(), residual).mul_(scale).unsqueeze(1);
    target = weight.add(at::cholesky_solve(right, lower).squeeze(1));
  }
  target = target.contiguous();
  FittedRow row;
  row.rounded =
      round_row(rounding_problem(std::move(hessian), lambda),
                {target.const_data_ptr<float>(), static_cast<size_t>(target.numel())}, rounding);
  const at::Tensor change =
      exec::view_of(Tensor::from<float>({target.numel()}, row.rounded.values)).sub(weight);
  row.bias_change = residual.sub(at::mv(x, change)).mean().item<double>();
  return row;
}

}  // namespace

FittedConv fit_activation(const ConvToFit& conv, const FitOptions& options, Random& random) {
  const int64_t groups = std::get<graph::Conv>(conv.input.node.op).groups;
  const int64_t outputs = conv.weight.dim(0);
  const int64_t rows = outputs / groups;
  const int64_t k = conv.weight.size() / outputs;
  const at::Tensor weight = exec::view_of(conv.weight).view({groups, rows, k});
  const Samples samples = collect(conv, weight, options, random);
  const int64_t pool = samples.columns.size(1);
  const int64_t count = std::min(options.row_positions, pool);
  FittedConv result{Tensor(DType::kFloat32, conv.weight.shape()),
                    std::vector<float>(static_cast<size_t>(outputs)),
                    std::vector<double>(static_cast<size_t>(outputs))};
  auto* values = result.weight.mutable_data<float>().data();
  const RoundingOptions rounding{.qmin = conv.quantizer.qmin,
                                 .qmax = conv.quantizer.qmax,
                                 .scale_candidates = options.scale_candidates,
                                 .descent_sweeps = options.descent_sweeps};
  const uint64_t seed = random.next();
  parallel_for(static_cast<size_t>(outputs), 0, [&](size_t o) {
    const auto g = static_cast<int64_t>(o) / rows;
    const auto r = static_cast<int64_t>(o) % rows;
    Random own(splitmix64_mix(seed + o));
    const std::span<const float> slope{
        samples.slope.const_data_ptr<float>() + static_cast<int64_t>(o) * pool,
        static_cast<size_t>(pool)};
    std::vector<int64_t> drawn = draw_by_weight(slope, count, own);
    const at::Tensor chosen =
        at::from_blob(drawn.data(), {count}, at::TensorOptions().dtype(c10::ScalarType::Long));
    const FittedRow row =
        fit_row(weight[g][r], at::index_select(samples.columns[g], 0, chosen),
                at::index_select(samples.residual[g][r], 0, chosen), options, rounding);
    std::ranges::copy(row.rounded.values, values + static_cast<int64_t>(o) * k);
    result.scale[o] = row.rounded.scale;
    result.bias_change[o] = row.bias_change;
  });
  return result;
}

}  // namespace yoloquant::quant
