#include "quant/gptq.h"

#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "exec/convert.h"
#include "quant/conv_columns.h"
#include "quant/paired_walk.h"
#include "quant/row_rounding.h"

namespace yoloquant::quant {

namespace {

// Second moments of a conv's inputs over the sampled positions, for each group.
struct Moments {
  at::Tensor hessian;         // E[x' x''], [G, K, K]
  at::Tensor cross;           // E[x x''], [G, K, K]
  at::Tensor mean_quantized;  // E[x'], [G, K]
  at::Tensor mean_reference;  // E[x], [G, K]
};

Moments collect(const PairedInput& input, const Shape& weight, const GptqOptions& options,
                Random& random) {
  const auto& op = std::get<graph::Conv>(input.node.op);
  Moments sum;
  int64_t rows = 0;
  for (size_t b = 0; b < input.quantized.size(); ++b) {
    const std::vector<Position> positions =
        draw_positions(op, weight[2], weight[3], input.quantized[b], options.positions, random);
    const at::Tensor q = gather_columns(op, weight[2], weight[3], input.quantized[b], positions);
    const at::Tensor fp = gather_columns(op, weight[2], weight[3], input.reference[b], positions);
    const at::Tensor hessian = at::matmul(q.transpose(1, 2), q);
    const at::Tensor cross = at::matmul(fp.transpose(1, 2), q);
    if (rows == 0) {
      sum = {hessian, cross, q.sum(1), fp.sum(1)};
    } else {
      sum.hessian += hessian;
      sum.cross += cross;
      sum.mean_quantized += q.sum(1);
      sum.mean_reference += fp.sum(1);
    }
    rows += q.size(1);
  }
  const double scale = 1.0 / static_cast<double>(rows);
  for (at::Tensor* tensor : {&sum.hessian, &sum.cross, &sum.mean_quantized, &sum.mean_reference}) {
    *tensor = tensor->to(c10::ScalarType::Double).mul_(scale);
  }
  return sum;
}

// The weights [R, K] that give the float outputs from quantized inputs, with ridge `lambda` towards
// the float weights.
at::Tensor output_target(const at::Tensor& weight, const at::Tensor& hessian,
                         const at::Tensor& cross, double lambda) {
  const int64_t k = hessian.size(0);
  at::Tensor regular = hessian.clone();
  regular.diagonal().add_(lambda);
  at::Tensor right = cross.clone();
  right.diagonal().add_(lambda);
  const at::Tensor wanted = at::mm(weight.to(c10::ScalarType::Double), right);
  if (k == 1) return wanted.div(regular).to(c10::ScalarType::Float);
  // X regular = wanted; regular is symmetric.
  return at::linalg_solve(regular, wanted.t().contiguous())
      .t()
      .to(c10::ScalarType::Float)
      .contiguous();
}

RoundingProblem prepare(const at::Tensor& hessian, double lambda) {
  RoundingProblem problem;
  problem.size = hessian.size(0);
  const auto k = static_cast<size_t>(problem.size);
  const auto diagonal = hessian.diagonal().contiguous();
  const auto* value = diagonal.const_data_ptr<double>();
  problem.order.resize(k);
  std::iota(problem.order.begin(), problem.order.end(), int64_t{0});
  std::ranges::stable_sort(problem.order,
                           [&](int64_t a, int64_t b) { return value[a] > value[b]; });
  at::Tensor ordered = at::empty({problem.size, problem.size}, hessian.options());
  auto* out = ordered.mutable_data_ptr<double>();
  const at::Tensor source = hessian.contiguous();
  const auto* in = source.const_data_ptr<double>();
  for (size_t i = 0; i < k; ++i) {
    for (size_t j = 0; j < k; ++j)
      out[i * k + j] = in[problem.order[i] * problem.size + problem.order[j]];
  }
  const at::Tensor plain = ordered.to(c10::ScalarType::Float);
  problem.hessian.assign(plain.const_data_ptr<float>(), plain.const_data_ptr<float>() + k * k);
  ordered.diagonal().add_(lambda);
  const auto [lower, info] = at::linalg_cholesky_ex(ordered);
  if (info.item<int>() != 0) fail("the inputs' second moments are not positive definite");
  const at::Tensor inverse = at::cholesky_inverse(lower);
  const auto [upper, info2] = at::linalg_cholesky_ex(inverse, /*upper=*/true);
  if (info2.item<int>() != 0) fail("the inputs' second moments cannot be inverted");
  const at::Tensor factor = upper.to(c10::ScalarType::Float).contiguous();
  problem.factor.assign(factor.const_data_ptr<float>(), factor.const_data_ptr<float>() + k * k);
  return problem;
}

// Rounds the rows of one group; writes values and scales.
void round_group(const at::Tensor& target, const RoundingProblem& problem,
                 const RoundingOptions& options, float* values, float* scales) {
  const int64_t rows = target.size(0);
  const int64_t k = target.size(1);
  const auto* data = target.const_data_ptr<float>();
  const auto one = [&](size_t r) {
    const RoundedRow row = round_row(problem, {data + r * k, static_cast<size_t>(k)}, options);
    std::ranges::copy(row.values, values + static_cast<int64_t>(r) * k);
    scales[r] = row.scale;
  };
  if (rows == 1) {
    one(0);
  } else {
    parallel_for(static_cast<size_t>(rows), 0, one);
  }
}

class ConvFit {
 public:
  ConvFit(graph::Graph& annotated, const graph::Graph& reference, const GptqOptions& options)
      : annotated_(annotated), reference_(reference), options_(options) {}

  void fit(const PairedInput& input, Random& random) {
    const std::string& name = input.node.name;
    const Tensor& original = reference_.parameter(name + ".weight");
    graph::Quantizer& quantizer = *annotated_.quantization.at(name).weight;
    const Moments moments = collect(input, original.shape(), options_, random);
    const int64_t groups = moments.hessian.size(0);
    const int64_t rows = original.dim(0) / groups;
    const int64_t k = moments.hessian.size(1);
    // A lossless quantizer (DFL) stays as it is, and so does its bias.
    const Tensor rounded = dequantize(quantize(original, quantizer), quantizer);
    if (equal(rounded, original) || !quantizer.per_channel()) return;

    const at::Tensor weight = exec::view_of(original).view({groups, rows, k});
    Tensor result(DType::kFloat32, original.shape());
    auto* values = result.mutable_data<float>().data();
    const RoundingOptions rounding{.qmin = quantizer.qmin,
                                   .qmax = quantizer.qmax,
                                   .scale_candidates = options_.scale_candidates,
                                   .descent_sweeps = options_.descent_sweeps};
    const auto one_group = [&](size_t g) {
      const auto index = static_cast<int64_t>(g);
      at::Tensor hessian = moments.hessian[index].clone();
      const double mean = std::max(hessian.diagonal().mean().item<double>(), 1e-10);
      const double lambda = options_.damping * mean;
      // Inputs that are always zero would make H singular; their weights do not matter.
      hessian.diagonal().add_(1e-6 * mean);
      const at::Tensor target = options_.output_target ? output_target(weight[index], hessian,
                                                                       moments.cross[index], lambda)
                                                       : weight[index].contiguous();
      round_group(target, prepare(hessian, lambda), rounding, values + index * rows * k,
                  quantizer.scale.data() + index * rows);
    };
    for (size_t g = 0; g < static_cast<size_t>(groups); ++g) one_group(g);
    annotated_.parameters[name + ".weight"] = result;
    correct_bias(name, result, weight, moments);
  }

 private:
  // b' = b + W E[x] - W' E[x'].
  void correct_bias(const std::string& name, const Tensor& result, const at::Tensor& weight,
                    const Moments& moments) {
    const auto found = annotated_.parameters.find(name + ".bias");
    if (found == annotated_.parameters.end()) return;
    const auto product = [](const at::Tensor& w, const at::Tensor& mean) {
      return at::matmul(w.to(c10::ScalarType::Double), mean.unsqueeze(-1)).reshape({-1});
    };
    const at::Tensor change =
        product(weight, moments.mean_reference)
            .sub(product(exec::view_of(result).view(weight.sizes()), moments.mean_quantized));
    const at::Tensor host = change.contiguous();
    const auto* shift = host.const_data_ptr<double>();
    const auto original = reference_.parameter(name + ".bias").data<float>();
    const auto bias = found->second.mutable_data<float>();
    for (size_t i = 0; i < bias.size(); ++i) {
      bias[i] = static_cast<float>(original[i] + shift[i]);
    }
  }

  graph::Graph& annotated_;
  const graph::Graph& reference_;
  const GptqOptions& options_;
};

}  // namespace

GptqOptions gptq_options(Effort effort) {
  GptqOptions options;
  if (effort == Effort::kFast) return options;
  options.images = 128;
  options.positions = 1600;
  return options;
}

void run_gptq(graph::Graph& annotated, const MethodContext& context, const GptqOptions& options) {
  const auto total = static_cast<int64_t>(annotated.quantization.size());
  context.progress.start("rounding weights to the float model's output", total);
  Random random(splitmix64_mix(context.budget.seed() + 0x67707471));
  ConvFit fit(annotated, context.reference, options);
  int64_t done = 0;
  walk_pairs(context.reference, annotated, context.images, {.images = options.images, .batch = 8},
             [&](const PairedInput& input) {
               with_context(input.node.name, [&] { fit.fit(input, random); });
               context.progress.update(++done, input.node.name);
             });
  context.progress.finish();
}

void Gptq::apply(graph::Graph& annotated, const MethodContext& context) {
  run_gptq(annotated, context, gptq_options(context.budget.effort()));
}

}  // namespace yoloquant::quant
