#include "quant/adam.h"

#include <ATen/ops/sqrt.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <cmath>

namespace yoloquant::quant {

Adam::Adam(std::vector<Group> groups, double beta1, double beta2)
    : groups_(std::move(groups)), beta1_(beta1), beta2_(beta2) {
  for (const Group& group : groups_) {
    std::vector<Moments>& moments = moments_.emplace_back();
    for (const at::Tensor& parameter : group.parameters) {
      const at::Tensor values = parameter.detach();
      moments.push_back({at::zeros_like(values), at::zeros_like(values)});
    }
  }
}

std::map<std::string, at::Tensor> Adam::state() const {
  std::map<std::string, at::Tensor> tensors;
  for (size_t g = 0; g < moments_.size(); ++g) {
    for (size_t i = 0; i < moments_[g].size(); ++i) {
      const std::string name = fmt::format("{}.{}", g, i);
      tensors[name + ".first"] = moments_[g][i].first;
      tensors[name + ".second"] = moments_[g][i].second;
    }
  }
  return tensors;
}

void Adam::step(double schedule) {
  ++steps_;
  const double correction1 = 1 - std::pow(beta1_, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(beta2_, static_cast<double>(steps_));
  for (size_t g = 0; g < groups_.size(); ++g) {
    const double rate = groups_[g].rate * schedule / correction1;
    for (size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      at::Tensor& parameter = groups_[g].parameters[i];
      const at::Tensor gradient = parameter.grad();
      if (!gradient.defined()) continue;
      Moments& m = moments_[g][i];
      m.first.mul_(beta1_).add_(gradient, 1 - beta1_);
      m.second.mul_(beta2_).addcmul_(gradient, gradient, 1 - beta2_);
      const at::Tensor deviation = at::sqrt(m.second).div_(std::sqrt(correction2)).add_(1e-8);
      parameter.detach().addcdiv_(m.first, deviation, -rate);
      parameter.mutable_grad() = at::Tensor();
    }
  }
}

}  // namespace yoloquant::quant
