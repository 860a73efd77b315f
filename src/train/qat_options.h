#pragma once

#include <cstdint>
#include <vector>

#include "train/train_options.h"

namespace yoloquant::train {

// From `progress` on (share of training done), weights have at least so many bits.
struct BitStage {
  double progress = 0;
  int bits = 8;
};

enum class StepStart : uint8_t {
  kAnnotated,  // as the annotated graph says: post-training quantization, or least squares
  kLsq,        // 2 mean|w| / sqrt(high), Esser et al. 2020
};

// What quantization-aware training does. Every stabilizer is off unless asked for; docs/qat.md has
// what each is good for. A time is a share of training, in [0, 1]; 1: never.
struct QatOptions {
  // -- steps (LSQ, Esser et al. 2020)
  StepStart weight_steps = StepStart::kAnnotated;
  // Whether the model starts from the annotated graph's weights and biases, where methods of
  // post-training quantization have changed them, or keeps its own.
  bool adopt_weights = true;
  double step_rate = 1;            // of the steps, times the weights'; see scratch_step_rate
  bool learn_zero_points = false;  // of asymmetric activations (LSQ+, Bhalgat et al. 2020)

  // -- oscillations (Nagel et al. 2022, "Overcoming Oscillations in Quantization-Aware Training")
  // Weight of the sum of (clamp(w) - q(w))^2 in the loss at the end, from 0 by a cosine.
  double dampening = 0;
  // Weights that oscillate more often than a threshold keep their code, the rounded running mean of
  // their codes, for good. The threshold falls by a cosine.
  bool freezing = false;
  double freeze_threshold = 0.1;
  double final_freeze_threshold = 0.01;
  double oscillation_momentum = 0.01;  // of the running frequency of oscillations, and of the codes

  // -- batch norms: from then on they normalize with their running statistics, which stay (Krishna-
  // moorthi 2018, "Quantizing deep convolutional networks for efficient inference")
  double freeze_norms_after = 1;

  // -- quantization correction (Gupta, Asthana 2024, "Reducing the Side-Effects of Oscillations in
  // Training of Quantized YOLO Networks"): from then on codes and steps stay, and only what is a
  // scale and a shift of an output channel is trained. Batch norms are frozen meanwhile.
  double correct_after = 1;

  // -- progressive bits, in ascending order of progress. Empty: each layer's own bits throughout.
  std::vector<BitStage> stages{};
};

// Stages with these bits, in equal parts of the first half of training; then each layer's own.
std::vector<BitStage> progressive_stages(const std::vector<int>& bits);

// The stages that training from scratch goes through by default: 8, 6, and each layer's own bits.
// Weights learn most in the first half; on a coarse grid they learn slowly (docs/qat.md).
std::vector<BitStage> scratch_stages();

// The step rate that training from scratch needs. Adam moves a weight, some .05 large, and the
// logarithm of a step alike, so that weights outgrow their range unless steps are faster.
double scratch_step_rate(OptimizerKind optimizer);

// Throws Error (usage) that names the option which makes no sense.
void check(const QatOptions& options);

// start at progress 0, end at 1, half a cosine between.
double cosine_between(double start, double end, double progress);

}  // namespace yoloquant::train
