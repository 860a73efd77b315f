#pragma once

#include <cmath>

#include "report/train_record.h"

namespace yoloquant::report::test {

inline constexpr int64_t kBatches = 10;  // of an epoch

inline IterationRecord iteration_record(int64_t iteration) {
  const auto i = static_cast<double>(iteration);
  return {.epoch = iteration / kBatches,
          .iteration = iteration,
          .images = 8,
          .losses = {i, i + 0.1, i + 0.2, i + 0.3, i + 0.4, i + 0.5},
          .total = 6 * i + 1.5,
          .rates = {0.1, 0.01, 0.02},
          .momentum = 0.9,
          .gradient_norm = 3 + i,
          .loss_scale = {},
          .seconds = 0.25};
}

inline EpochRecord epoch_record(int64_t epoch) {
  const double fall = std::exp(-0.05 * static_cast<double>(epoch));
  const double rise = 1 - fall;
  return {.epoch = epoch,
          .seconds = 1.5,
          .train_losses = {3 * fall, 4 * fall, 2 * fall, 2.5 * fall, 5 * fall, 1.75 * fall},
          .val_losses = Losses{3.5 * fall, 4.5 * fall, 2.5 * fall, 3 * fall, 5.5 * fall, 2 * fall},
          .precision = 0.9 * rise,
          .recall = 0.8 * rise,
          .map50 = 0.7 * rise,
          .map = 0.5 * rise,
          .rates = {0.01 * fall, 0.01 * fall, 0.02 * fall}};
}

// One without validation.
inline EpochRecord blind_epoch_record(int64_t epoch) {
  EpochRecord record = epoch_record(epoch);
  record.val_losses.reset();
  record.precision.reset();
  record.recall.reset();
  record.map50.reset();
  record.map.reset();
  return record;
}

inline LayerRecord layer_record(int64_t epoch, LayerRecord::Kind kind) {
  LayerRecord record;
  record.epoch = epoch;
  record.layer = "model.0.conv";
  record.kind = kind;
  record.bits = 4;
  record.scale_mean = 0.02;
  record.scale_min = 0.01;
  record.scale_max = 0.03;
  record.scale_drift = 0.5;
  if (kind == LayerRecord::Kind::kWeight) record.oscillating = 0.125;
  if (kind == LayerRecord::Kind::kActivation) record.clipped = 0.25;
  return record;
}

inline RunRecord run_record() {
  return {.hyperparameters = {{"lr0", "0.01"}, {"batch", "8"}},
          .seed = 18'446'744'073'709'551'615U,
          .data = {{"train", "data/train.txt", 128, "ab12"}},
          .versions = {{"yoloquant", "0.1.0"}}};
}

}  // namespace yoloquant::report::test
