#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace yoloquant::quant {

using NamedParameters = std::map<std::string, at::Tensor>;

// Running (exponential) means of trainable tensors. Their rounding errors are smaller than those of
// any single state, since latent weights that flip between two codes settle.
class ParameterAverage {
 public:
  ParameterAverage(NamedParameters parameters, double decay);

  void update();
  // Exchanges parameters and means.
  void swap();

  const NamedParameters& means() const { return means_; }

 private:
  NamedParameters parameters_;
  NamedParameters means_;
  double decay_;
  double updates_ = 0;
};

}  // namespace yoloquant::quant
