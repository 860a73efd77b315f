#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "exec/named_tensors.h"

namespace yoloquant::quant {

// Running (exponential) means of trainable tensors, those of floating-point type. Their rounding
// errors are smaller than those of any single state, since latent weights that flip between two
// codes settle.
class ParameterAverage {
 public:
  // What the mean keeps of itself at an update; updates count from 1.
  using Decay = std::function<double(int64_t updates)>;

  ParameterAverage(const exec::NamedTensors& parameters, Decay decay);
  // min(decay, (1 + updates) / (10 + updates)): the first means are over few states.
  ParameterAverage(const exec::NamedTensors& parameters, double decay);

  void update();
  // Exchanges parameters and means.
  void swap();
  // The means become the parameters as they are; the count of updates stays.
  void restart();

  // The tensors themselves; with the number of updates, all that is needed to go on.
  const exec::NamedTensors& means() const { return means_; }
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

 private:
  exec::NamedTensors means_;
  std::vector<at::Tensor> own_;     // means_ in order
  std::vector<at::Tensor> source_;  // the parameters they belong to
  Decay decay_;
  int64_t updates_ = 0;
};

}  // namespace yoloquant::quant
