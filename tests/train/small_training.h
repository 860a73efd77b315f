#pragma once

#include <cmath>
#include <vector>

#include "base/random.h"
#include "train/tensors.h"
#include "train/trainer.h"
#include "train/training_part.h"

// What tests of the Trainer train.
namespace yoloquant::train {

inline constexpr int64_t kSize = 64;

// Images of noise with two objects each; `images` picks them.
inline data::TrainBatch make_batch(const std::vector<int>& images) {
  data::TrainBatch batch;
  batch.count = static_cast<int64_t>(images.size());
  batch.size = kSize;
  for (size_t i = 0; i < images.size(); ++i) {
    Random random(static_cast<uint64_t>(images[i]) + 1);
    for (int64_t p = 0; p < 3 * kSize * kSize; ++p) {
      batch.pixels.push_back(static_cast<uint8_t>(random.below(256)));
    }
    for (int64_t object = 0; object < 2; ++object) {
      batch.labels.push_back({.image = static_cast<int64_t>(i),
                              .class_id = static_cast<int64_t>(random.below(3)),
                              .x = random.uniform(0.3F, 0.7F),
                              .y = random.uniform(0.3F, 0.7F),
                              .width = random.uniform(0.2F, 0.5F),
                              .height = random.uniform(0.2F, 0.5F)});
    }
  }
  return batch;
}

inline TrainerOptions small_options(int64_t batch, int64_t nominal_batch) {
  TrainerOptions options;
  options.schedule.epochs = 4;
  options.schedule.batches = 4;
  options.schedule.batch = batch;
  options.schedule.nominal_batch = nominal_batch;
  options.schedule.warmup_epochs = 0;
  return options;
}

// A gain on the first conv's weight, drawn towards 1 by the penalty.
class Gain : public TrainingPart {
 public:
  void attach(TrainableGraph& model) override {
    model.set_conv_hook([this](const ConvSite& site, ConvArguments arguments) {
      if (site.name == "model.0.conv") arguments.weight = arguments.weight.mul(gain_);
      return arguments;
    });
  }
  std::vector<PartParameters> parameters() override {
    return {{.group = {.name = "gain", .parameters = state(), .weight_decay = 0},
             .rate_of = 1,
             .rate_factor = 2}};
  }
  NamedTensors state() const override { return {{"gain", gain_}}; }
  at::Tensor penalty(const BatchView& batch) override {
    progress = batch.progress;
    return gain_.sub(1).square().sum();
  }
  void after_step(double /*progress*/) override { ++steps; }

  int steps = 0;
  double progress = -1;

 private:
  at::Tensor gain_ = floats({1}, {3}).requires_grad_(true);
};

}  // namespace yoloquant::train
