#pragma once

#include <array>
#include <cstdint>

namespace yoloquant::train {

// Defaults are those of the training from scratch.
struct ScheduleOptions {
  double rate = 0.01;       // lr0
  double final_rate = 0.1;  // lrf: the last epoch's rate over the first's
  bool cosine = false;      // the way between the two; otherwise linear
  double momentum = 0.937;
  double weight_decay = 5e-4;  // for the nominal batch
  double warmup_epochs = 3;
  double warmup_momentum = 0.8;
  double warmup_bias_rate = 0.1;
  int64_t epochs = 300;
  int64_t batches = 1;  // of an epoch
  int64_t batch = 32;   // images of a batch, over all ranks
  int64_t nominal_batch = 64;
};

// What holds for one batch.
struct StepSettings {
  std::array<double, 3> rates{};  // of parameter_groups: biases, weights, scales of batch norms
  double momentum = 0;
  int64_t accumulate = 1;  // batches whose gradients add up to a step
};

// Rates, momentum and accumulation as a function of the batch alone, so that there is nothing to
// save. Follows Ultralytics' BaseTrainer: over the warm-up (at least 100 batches) rates rise from
// 0, that of the biases falls from warmup_bias_rate, the momentum and the accumulation rise.
class Schedule {
 public:
  // Throws Error (usage) for options that make no sense.
  explicit Schedule(const ScheduleOptions& options);

  // `iteration` counts batches from 0 over all epochs.
  StepSettings at(int64_t iteration) const;
  // Of `epoch`, over the first's.
  double rate_factor(int64_t epoch) const;
  // For the images that a step really sees: weight_decay * batch * accumulate / nominal_batch.
  double weight_decay() const;

 private:
  int64_t full_accumulation() const;

  ScheduleOptions options_;
  int64_t warmup_;  // batches
};

}  // namespace yoloquant::train
