#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace yoloquant::quant {

// Adam (Kingma, Ba 2015) over groups of tensors with rates of their own.
class Adam {
 public:
  struct Group {
    std::vector<at::Tensor> parameters;
    double rate = 1e-3;
  };

  explicit Adam(std::vector<Group> groups, double beta1 = 0.9, double beta2 = 0.99);

  // Updates all parameters from their gradients, rates times `schedule`, and clears the gradients.
  // Parameters without a gradient stay.
  void step(double schedule);

  // Its moments by name, the tensors themselves: for saving, and for loading together with the
  // number of steps.
  std::map<std::string, at::Tensor> state() const;
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  struct Moments {
    at::Tensor first;
    at::Tensor second;
  };
  std::vector<Group> groups_;
  std::vector<std::vector<Moments>> moments_;
  double beta1_;
  double beta2_;
  int64_t steps_ = 0;
};

}  // namespace yoloquant::quant
