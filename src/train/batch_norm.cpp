#include "train/batch_norm.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"

namespace yoloquant::train {

namespace {

using at::Tensor;

class Norm : public torch::autograd::Function<Norm> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x,
                        const Tensor& weight, const Tensor& bias, const ChannelMoments& moments,
                        double eps, bool is_of_batch, bool has_silu) {
    const Tensor inverse = at::rsqrt(moments.variance.add(eps));
    const Tensor scale = weight.mul(inverse);
    context->save_for_backward({x, inverse, moments.mean, scale, bias});
    context->saved_data["is_of_batch"] = is_of_batch;
    context->saved_data["has_silu"] = has_silu;
    return scale_channels(x, {moments.mean, scale, bias}, activation(has_silu));
  }

  // With x' = (x - mean) / deviation, M values in a channel and g the gradient of y,
  //   dx = weight / deviation (g - sum(g) / M - x' sum(g x') / M),
  // where the sums are there when mean and deviation are of the batch.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &inverse = saved[1];
    const ChannelScales scales{saved[2], saved[3], saved[4]};
    ScaleGradients g = scale_channels_backward(
        x, gradients[0].to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast), scales,
        activation(context->saved_data["has_silu"].toBool()));
    const double share = context->saved_data["is_of_batch"].toBool()
                             ? static_cast<double>(x.size(1)) / static_cast<double>(x.numel())
                             : 0;
    const Tensor a = scales.scale.mul(g.sum).mul_(share);
    const Tensor b = scales.scale.mul(inverse).mul_(inverse).mul_(g.centered).mul_(share);
    center_gradient(g.z, x, scales, a, b);
    return {g.z, g.centered.mul(inverse), g.sum, Tensor(), Tensor(), Tensor(), Tensor()};
  }

 private:
  static NormActivation activation(bool has_silu) {
    return has_silu ? NormActivation::kSilu : NormActivation::kNone;
  }
};

// Moments of a batch, towards which the running ones move.
ChannelMoments batch_moments(const Tensor& x, const graph::BatchNorm& norm,
                             const exec::NodeParameters& p) {
  const int64_t count = x.numel() / x.size(1);
  if (count < 2) {
    fail("a batch norm in training mode has a single value per channel: use larger batches");
  }
  const at::NoGradGuard guard;
  ChannelMoments moments = channel_moments(x.detach());
  const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
  move_running(p.running_mean, moments.mean, norm.momentum);
  move_running(p.running_var, moments.variance.mul(unbiased), norm.momentum);
  return moments;
}

}  // namespace

void move_running(const Tensor& running, const Tensor& target, double momentum) {
  if (running.defined()) running.detach().mul_(1 - momentum).add_(target, momentum);
}

at::Tensor batch_norm(const at::Tensor& x, const graph::BatchNorm& norm,
                      const exec::NodeParameters& p, NormMode mode, NormActivation activation) {
  const bool is_training = mode == NormMode::kTraining;
  const bool has_silu = activation == NormActivation::kSilu;
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || x.dim() != 4) {
    const at::Tensor y =
        at::batch_norm(x, p.weight, p.bias, p.running_mean, p.running_var, is_training,
                       norm.momentum, norm.eps, /*cudnn_enabled=*/true);
    return has_silu ? at::silu(y) : y;
  }
  const at::Tensor dense = x.contiguous(at::MemoryFormat::ChannelsLast);
  // A copy: training goes on to move them before the backward pass reads them.
  const ChannelMoments moments =
      is_training ? batch_moments(dense, norm, p)
                  : ChannelMoments{p.running_mean.detach().clone(), p.running_var.detach().clone()};
  return Norm::apply(dense, p.weight, p.bias, moments, norm.eps, is_training, has_silu);
}

}  // namespace yoloquant::train
