#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "pipeline/train_model.h"
#include "train/trainer.h"

// Internal to the layer: a training's state in a checkpoint, see docs/formats.md.
namespace yoloquant::pipeline {

// Where a training stands, beside the trainer's own state.
struct TrainPosition {
  int64_t epoch = 0;                  // in work, from 0
  int64_t batch = 0;                  // the next one of this epoch
  std::array<double, 6> loss_sums{};  // over this epoch's batches
  int64_t best_epoch = -1;
  double best_fitness = -1;
  double map50 = 0;  // of the last validation
  double map = 0;
  double seconds = 0;         // of training so far
  double seconds_before = 0;  // of that, before this epoch
  double best_map = 0;
  bool stopped = false;  // nothing gets better
  std::string watch;     // CollapseWatch::state
};

// Writes the checkpoint atomically: a dict that every command takes, the averaged weights first.
void write_train_checkpoint(const std::filesystem::path& path, const TrainModel& model,
                            const train::TrainerState& state, const TrainPosition& position,
                            const checkpoint::Value& train_args);

// Gives back what was written. Throws Error with the path for a file that is no such checkpoint.
void read_train_checkpoint(const std::filesystem::path& path, train::TrainerState& state,
                           TrainPosition& position);

}  // namespace yoloquant::pipeline
