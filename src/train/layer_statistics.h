#pragma once

#include <cstdint>
#include <string>

namespace yoloquant::train {

// How the quantizers of one conv fare, over the steps since QuantizedTraining::begin_epoch. Shares
// are in [0, 1].
struct LayerStatistics {
  std::string conv;
  int64_t weights = 0;
  int weight_bits = 0;
  int64_t steps = 0;  // of the optimizer

  double oscillation =
      0;              // share of weights that swing back to where they came from at a step, mean
  double frozen = 0;  // share of weights that are held at their code
  double dead_codes = 0;     // share of the codes of the range that no weight has
  double dead_channels = 0;  // share of output channels whose weights all have code 0
  double saturated = 0;      // share of weights beyond the range: they get no gradient
  double step_mean = 0;      // of the weights' steps, over the channels
  double step_min = 0;
  double step_max = 0;
  double step_drift = 0;       // mean over the channels of |log2(step / step at the start)|
  double weight_gradient = 0;  // norm, mean over the steps
  double step_gradient = 0;    // norm of the gradients of log steps, mean over the steps

  int input_bits = 0;         // 0: float
  double clipped_inputs = 0;  // share of the values that the backward passes met
  double input_step = 0;
  double input_step_drift = 0;  // |log2(step / step at the start)|
  double input_step_gradient = 0;
};

}  // namespace yoloquant::train
