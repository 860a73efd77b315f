#include "quant/parameter_average.h"

#include <algorithm>
#include <utility>

namespace yoloquant::quant {

ParameterAverage::ParameterAverage(NamedParameters parameters, double decay)
    : parameters_(std::move(parameters)), decay_(decay) {
  for (const auto& [name, value] : parameters_) means_[name] = value.detach().clone();
}

void ParameterAverage::update() {
  ++updates_;
  // The first means are over few states.
  const double decay = std::min(decay_, (1.0 + updates_) / (10.0 + updates_));
  for (auto& [name, mean] : means_) mean.lerp_(parameters_.at(name).detach(), 1 - decay);
}

void ParameterAverage::swap() {
  for (auto& [name, mean] : means_) {
    at::Tensor values = parameters_.at(name).detach();
    const at::Tensor held = values.clone();
    values.copy_(mean);
    mean.copy_(held);
  }
}

}  // namespace yoloquant::quant
