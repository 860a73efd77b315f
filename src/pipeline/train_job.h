#pragma once

#include <chrono>
#include <optional>

#include "data/train_loader.h"
#include "pipeline/run_root.h"
#include "pipeline/train.h"
#include "pipeline/train_checkpoint.h"
#include "pipeline/train_data.h"
#include "pipeline/train_model.h"
#include "pipeline/train_validation.h"
#include "report/train_recorder.h"
#include "train/trainer.h"

// Internal to the layer: the loop of a training and its files.
namespace yoloquant::pipeline {

class TrainJob {
 public:
  TrainJob(const TrainOptions& options, const TrainEvents& events, Progress& progress);

  TrainResult run();

 private:
  using Clock = std::chrono::steady_clock;

  static TrainOptions completed(TrainOptions options, const data::TrainLoader& loader);
  std::filesystem::path weights(const std::string& name) const;
  bool writes() const { return options_.shard.rank == 0; }
  void info(const std::string& line);

  void begin();
  void resume();
  void train_epoch();
  void finish_epoch();
  std::optional<Validation> validate_epoch();
  void note_result(const Validation& validation);
  void record(const std::optional<Validation>& validation);
  void check_finite(const train::StepReport& report);
  void record_step(const data::TrainBatch& batch, const train::StepReport& report, double seconds);
  void save();
  void keep_copies();
  void describe(const std::optional<Validation>& validation);
  TrainResult result() const;

  const TrainEvents& events_;
  Progress& progress_;
  RunRoot root_;
  TrainData data_;
  TrainModel model_;
  data::TrainLoader loader_;
  TrainOptions options_;  // with what the data say
  checkpoint::Value train_args_;
  train::Trainer trainer_;
  std::optional<report::TrainRecorder> recorder_;

  TrainPosition position_;
  double images_per_second_ = 0;  // of the last epoch, without validation
  double seconds_of_epochs_ = 0;  // since this process began
  int64_t epochs_here_ = 0;
  int skipped_steps_ = 0;  // in a row
};

}  // namespace yoloquant::pipeline
