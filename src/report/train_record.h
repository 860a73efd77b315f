#pragma once

#include <array>
#include <cstdint>
#include <optional>

// What a training leaves behind of its batches and epochs. Losses are weighted, by
// train::kLossNames: box_om, cls_om, dfl_om, box_oo, cls_oo, dfl_oo.
namespace yoloquant::report {

struct IterationRecord {
  int64_t epoch = 0;      // from 0
  int64_t iteration = 0;  // batches since the training began
  int64_t images = 0;
  std::array<double, 6> losses{};
  double total = 0;
  std::array<double, 3> rates{};  // of biases, weights, scales of batch norms
  double momentum = 0;
  double gradient_norm = 0;  // before clipping; 0 where no step was taken
  double loss_scale = 1;
  double seconds = 0;
};

struct EpochRecord {
  int64_t epoch = 0;   // from 0
  double seconds = 0;  // since the training began, without interruptions
  std::array<double, 6> train_losses{};
  // Nothing in an epoch without validation.
  std::optional<std::array<double, 6>> val_losses;
  std::optional<double> precision;
  std::optional<double> recall;
  std::optional<double> map50;
  std::optional<double> map;  // 50-95
  std::array<double, 3> rates{};
};

}  // namespace yoloquant::report
