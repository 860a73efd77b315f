#include "quant/parameter_average.h"

#include <ATen/ops/_foreach_lerp.h>

#include <algorithm>
#include <utility>

namespace yoloquant::quant {

ParameterAverage::ParameterAverage(const exec::NamedTensors& parameters, Decay decay)
    : decay_(std::move(decay)) {
  for (const auto& [name, value] : parameters) {
    if (!value.is_floating_point()) continue;
    source_.push_back(value.detach());
    own_.push_back(value.detach().clone());
    means_.emplace(name, own_.back());
  }
}

ParameterAverage::ParameterAverage(const exec::NamedTensors& parameters, double decay)
    : ParameterAverage(parameters, [decay](int64_t updates) {
        const auto u = static_cast<double>(updates);
        return std::min(decay, (1 + u) / (10 + u));
      }) {}

void ParameterAverage::update() {
  ++updates_;
  at::_foreach_lerp_(own_, source_, 1 - decay_(updates_));
}

void ParameterAverage::swap() {
  for (size_t i = 0; i < own_.size(); ++i) {
    const at::Tensor held = source_[i].clone();
    source_[i].copy_(own_[i]);
    own_[i].copy_(held);
  }
}

void ParameterAverage::restart() {
  for (size_t i = 0; i < own_.size(); ++i) own_[i].copy_(source_[i]);
}

}  // namespace yoloquant::quant
