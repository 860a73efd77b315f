#include "train/sync_norm.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/var_mean.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "base/error.h"
#include "train/batch_norm.h"

namespace yoloquant::train {

namespace {

using at::Tensor;

// Of each channel, over the whole batch: [C] float32.
struct Statistics {
  Tensor mean;
  Tensor variance;   // biased
  double count = 0;  // values per channel
};

// Ranks exchange count, mean and variance, not sums of squares, which would cancel. Combined as in
// Chan, Golub, LeVeque 1979, in float64.
Statistics whole_batch_statistics(ProcessGroup& group, const Tensor& input) {
  const int64_t channels = input.size(1);
  const auto [variance, mean] =
      at::var_mean(input.to(at::kFloat), at::IntArrayRef{0, 2, 3}, /*unbiased=*/false);
  const Tensor table =
      at::zeros({group.size(), 2 * channels + 1}, mean.options().dtype(at::kDouble));
  const Tensor own = table[group.rank()];
  own.slice(0, 0, 1).fill_(input.numel() / channels);
  own.slice(0, 1, channels + 1).copy_(mean);
  own.slice(0, channels + 1).copy_(variance);

  const Tensor all = group.sum(table);
  const Tensor counts = all.slice(1, 0, 1);  // [ranks, 1]
  const Tensor means = all.slice(1, 1, channels + 1);
  const Tensor variances = all.slice(1, channels + 1);
  const Tensor count = counts.sum();
  const Tensor whole_mean = means.mul(counts).sum(0).div(count);
  const Tensor spread = variances.add(means.sub(whole_mean).square());
  return {.mean = whole_mean.to(at::kFloat),
          .variance = spread.mul(counts).sum(0).div(count).to(at::kFloat),
          .count = count.item<double>()};
}

class SynchronizedNorm : public torch::autograd::Function<SynchronizedNorm> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& input,
                        const Tensor& weight, const Tensor& bias, const Statistics& statistics,
                        double eps, ProcessGroup* group) {
    context->save_for_backward({input, weight, statistics.mean, statistics.variance});
    context->saved_data["eps"] = eps;
    context->saved_data["count"] = statistics.count;
    context->saved_data["group"] = reinterpret_cast<int64_t>(group);
    return at::batch_norm(input, weight, bias, statistics.mean, statistics.variance,
                          /*training=*/false, 0, eps, /*cudnn_enabled=*/true);
  }

  // With x' = (x - mean) / deviation, M values in a channel and g the gradient of the output,
  //   dx = weight / deviation (g - sum(g) / M - x' sum(g x') / M),
  // where the sums go over all ranks. The kernel for fixed statistics gives the first term and this
  // rank's sums, which are the gradients of bias and weight.
  static std::vector<Tensor> backward(torch::autograd::AutogradContext* context,
                                      const std::vector<Tensor>& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &input = saved[0], &weight = saved[1], &mean = saved[2], &variance = saved[3];
    const double eps = context->saved_data["eps"].toDouble();
    const double count = context->saved_data["count"].toDouble();
    // NOLINTNEXTLINE(performance-no-int-to-ptr): saved data hold no pointers.
    auto& group = *reinterpret_cast<ProcessGroup*>(context->saved_data["group"].toInt());

    auto [d_input, d_weight, d_bias] =
        at::native_batch_norm_backward(gradients[0].contiguous(), input, weight, mean, variance, {},
                                       {}, /*train=*/false, eps, {true, true, true});
    const Tensor sums = group.sum(at::cat({d_bias, d_weight})).div_(count);
    const int64_t channels = weight.size(0);
    const Tensor inverse = at::rsqrt(variance.add(eps));
    const Tensor scale = weight.detach().mul(inverse);
    // The other two terms are a + b (x - mean).
    const Tensor a = scale.mul(sums.slice(0, 0, channels));
    const Tensor b = scale.mul(sums.slice(0, channels)).mul_(inverse);
    const auto by_channel = [&](const Tensor& values) { return values.view({1, channels, 1, 1}); };
    d_input.sub_(input.sub(by_channel(mean)).mul_(by_channel(b)).add_(by_channel(a)));
    return {d_input, d_weight, d_bias, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

NormHook synchronized_norm(ProcessGroup& group) {
  return [&group](const Tensor& input, const graph::BatchNorm& norm,
                  const exec::NodeParameters& parameters) {
    Statistics statistics;
    {
      const at::NoGradGuard guard;
      statistics = whole_batch_statistics(group, input.detach());
      if (statistics.count < 2) {
        fail("a batch norm in training mode has a single value per channel: use larger batches");
      }
      const double unbiased = statistics.count / (statistics.count - 1);
      move_running(parameters.running_mean, statistics.mean, norm.momentum);
      move_running(parameters.running_var, statistics.variance.mul(unbiased), norm.momentum);
    }
    return SynchronizedNorm::apply(input, parameters.weight, parameters.bias, statistics, norm.eps,
                                   &group);
  };
}

}  // namespace yoloquant::train
