#include "train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "base/error.h"

namespace yoloquant::train {

namespace {

constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

// The fused kernels walk the memory of a parameter and of its gradient side by side.
at::Tensor laid_out_as(const at::Tensor& parameter, const at::Tensor& gradient) {
  if (gradient.strides() == parameter.strides()) return gradient;
  return at::empty_like(parameter).copy_(gradient);
}

}  // namespace

std::vector<ParameterGroup> parameter_groups(const TrainableGraph& model, double weight_decay) {
  std::vector<ParameterGroup> groups{{.name = "bias", .parameters = {}},
                                     {.name = "weight", .parameters = {}},
                                     {.name = "norm", .parameters = {}}};
  groups[1].weight_decay = weight_decay;
  for (const auto& [name, parameter] : model.parameters()) {
    const size_t group = name.ends_with(".bias") ? 0 : model.is_norm(name) ? 2 : 1;
    groups[group].parameters.emplace(name, parameter);
  }
  return groups;
}

Optimizer::Optimizer(OptimizerKind kind, std::vector<ParameterGroup> groups)
    : kind_(kind), groups_(std::move(groups)) {
  for (const ParameterGroup& group : groups_) {
    for (const auto& [name, parameter] : group.parameters) {
      Moments& m = moments_[name];
      m.first = at::zeros_like(parameter.detach());
      if (kind_ == OptimizerKind::kSgd) continue;
      m.second = at::zeros_like(m.first);
      m.steps = at::zeros({}, m.first.options());
    }
  }
}

void Optimizer::step(std::span<const double> rates, double momentum) {
  if (rates.size() != groups_.size()) {
    fail("{} learning rates for {} groups of parameters", rates.size(), groups_.size());
  }
  const at::NoGradGuard guard;
  for (size_t g = 0; g < groups_.size(); ++g) {
    std::vector<at::Tensor> parameters;
    std::vector<at::Tensor> gradients;
    std::vector<at::Tensor> first;
    std::vector<at::Tensor> second;
    std::vector<at::Tensor> steps;
    for (const auto& [name, parameter] : groups_[g].parameters) {
      if (!parameter.grad().defined()) continue;
      const Moments& m = moments_.at(name);
      parameters.push_back(parameter);
      gradients.push_back(laid_out_as(parameter, parameter.grad()));
      first.push_back(m.first);
      second.push_back(m.second);
      steps.push_back(m.steps);
    }
    if (parameters.empty()) continue;
    const double decay = groups_[g].weight_decay;
    if (kind_ == OptimizerKind::kSgd) {
      if (momentum == 0) first.clear();  // the kernel takes no buffers then
      // The buffers start at 0, which gives the same as starting with the first gradient.
      at::_fused_sgd_(parameters, gradients, first, decay, momentum, rates[g], /*dampening=*/0,
                      /*nesterov=*/true, /*maximize=*/false, /*is_first_step=*/false);
    } else {
      at::_foreach_add_(steps, 1);
      at::_fused_adamw_(parameters, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps,
                        rates[g], momentum, kBeta2, decay, kEpsilon, /*amsgrad=*/false,
                        /*maximize=*/false);
    }
  }
}

void Optimizer::clear_gradients() {
  for (ParameterGroup& group : groups_) {
    for (auto& [name, parameter] : group.parameters) parameter.mutable_grad() = at::Tensor();
  }
}

at::Tensor Optimizer::clip_gradients(double max_norm) {
  const at::NoGradGuard guard;
  std::vector<at::Tensor> gradients;
  for (const ParameterGroup& group : groups_) {
    for (const auto& [name, parameter] : group.parameters) {
      if (parameter.grad().defined()) gradients.push_back(parameter.grad());
    }
  }
  if (gradients.empty()) return at::zeros({});
  const at::Tensor norm = at::norm(at::stack(at::_foreach_norm(gradients)));
  at::_foreach_mul_(gradients, norm.add(1e-6).reciprocal().mul(max_norm).clamp_max(1));
  return norm;
}

NamedTensors Optimizer::state() const {
  NamedTensors state;
  for (const auto& [name, m] : moments_) {
    if (kind_ == OptimizerKind::kSgd) {
      state.emplace(name + ".momentum", m.first);
    } else {
      state.emplace(name + ".first", m.first);
      state.emplace(name + ".second", m.second);
      state.emplace(name + ".steps", m.steps);
    }
  }
  return state;
}

}  // namespace yoloquant::train
