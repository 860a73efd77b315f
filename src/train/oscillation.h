#pragma once

#include <ATen/core/Tensor.h>

#include "exec/named_tensors.h"
#include "train/lsq.h"

// Weights that swing between two codes. Follows Nagel et al. 2022, "Overcoming Oscillations in
// Quantization-Aware Training".
namespace yoloquant::train {

// What the codes of one weight tensor do from step to step. A weight oscillates at a step when its
// code changes, and in the other direction than at its last change.
class OscillationTracker {
 public:
  OscillationTracker() = default;
  // `codes` float32, of the weight's shape, before the first step. Running means of codes are kept
  // for freezing only.
  OscillationTracker(const at::Tensor& codes, bool with_means);

  // The codes after a step. The frequency f of each weight moves to f + momentum (o - f), o being 1
  // where it oscillates; means of codes move likewise.
  void update(const at::Tensor& codes, double momentum);

  // Freezes the weights whose frequency is above the threshold, at their mean code. They keep it:
  // later changes of their codes count for nothing.
  void freeze(double threshold);
  // Puts frozen weights onto their codes: weight = code * step.
  void hold(const at::Tensor& weight, const at::Tensor& signed_step) const;

  const at::Tensor& frequency() const { return frequency_; }
  const at::Tensor& frozen() const { return frozen_; }  // bool
  // Oscillations since the last clear, of all weights and steps; float64 scalar.
  const at::Tensor& count() const { return count_; }
  int64_t updates() const { return updates_; }
  void clear_count();
  // As if new: nothing has moved, nothing is frozen.
  void restart(const at::Tensor& codes);

  // The tensors themselves: all that is needed to go on, but for the count.
  exec::NamedTensors state() const;

 private:
  at::Tensor code_;       // int8
  at::Tensor direction_;  // int8: of the last change; 0: none yet
  at::Tensor frozen_;     // bool
  at::Tensor frequency_;  // float32
  at::Tensor mean_;       // float32; undefined without freezing
  at::Tensor count_;
  int64_t updates_ = 0;
};

// sum (clamp(w, s low, s high) - q(w))^2 with gradients for w alone: it draws weights to the middle
// of their codes.
at::Tensor dampening_penalty(const at::Tensor& weight, const at::Tensor& signed_step,
                             CodeRange range);

}  // namespace yoloquant::train
