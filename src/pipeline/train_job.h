#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "data/train_loader.h"
#include "pipeline/run_root.h"
#include "pipeline/train.h"
#include "pipeline/train_checkpoint.h"
#include "pipeline/train_data.h"
#include "pipeline/train_model.h"
#include "pipeline/train_validation.h"
#include "report/train_recorder.h"
#include "train/collapse_watch.h"
#include "train/qat.h"
#include "train/rank_exchange.h"
#include "train/trainer.h"

// Internal to the layer: the loop of a training and its files.
namespace yoloquant::pipeline {

class TrainJob {
 public:
  // With a `shared` run root, which is then options.out, the training is a part of a larger run.
  TrainJob(const TrainOptions& options, const TrainEvents& events, Progress& progress,
           RunRoot* shared = nullptr);

  TrainResult run();

  // After run: writes the best state into an annotated inference graph of the model, the
  // quantizers' start. Where the start is the best, that graph stays as it is.
  void store_best(graph::Graph& annotated);

 private:
  static constexpr const char* kLast = "last.pt";
  static constexpr const char* kGood = "good.pt";  // what a collapse goes back to
  static constexpr const char* kBest = "best.pt";
  static constexpr const char* kStart = "start.pt";  // of a training that goes through other bits

  using Clock = std::chrono::steady_clock;

  static TrainOptions completed(TrainOptions options, const data::TrainLoader& loader);
  std::filesystem::path weights(const std::string& name) const;
  std::filesystem::path file(const std::string& below) const { return options_.out / below; }
  bool writes() const { return root_ != nullptr; }
  // Whether what the start scored, with the bits asked for, is forgotten on the way.
  bool leaves_start() const {
    return options_.validate_start && options_.qat && !options_.qat->options.stages.empty();
  }
  void info(const std::string& line);

  static TrainData open_data(const TrainOptions& options, train::Ranks& ranks, Progress& progress);
  static std::optional<train::Qat> make_qat(const TrainOptions& options, const TrainModel& model);
  static std::vector<std::shared_ptr<train::TrainingPart>> make_parts(
      const TrainOptions& options, const TrainModel& model, const std::optional<train::Qat>& qat);
  void begin();
  void resume();
  void start_training();
  void stop_when_any(bool here);
  bool train_epoch();
  void finish_epoch(bool finite);
  bool judge(bool finite, const std::optional<Validation>& validation);
  void report_suspicions(const std::vector<std::string>& warnings);
  void roll_back(const std::string& diagnosis);
  std::optional<Validation> validate_epoch();
  std::optional<double> validate_weights();
  Validation validate_now();
  void draw(const Validation& validation) const;
  std::vector<data::TrainBatch> some_batches(int64_t count);
  void note_result(const Validation& validation);
  void forget_best();
  void prefer_start();
  static std::string loss_text(const train::LossItems& losses);
  nlohmann::ordered_json run_json() const;
  report::RunRecord run_record() const;
  void note(const std::string& kind, const std::string& text);
  void record(const std::optional<Validation>& validation);
  bool closes_mosaic() const;
  bool is_sound(const train::StepReport& report);
  void record_step(const data::TrainBatch& batch, const train::StepReport& report, double seconds);
  void record_layers(const std::vector<train::LayerStatistics>& layers);
  void save();
  void keep_copies();
  void describe(const std::optional<Validation>& validation);
  TrainResult result() const;

  const TrainEvents& events_;
  Progress& progress_;
  train::Ranks ranks_;
  std::unique_ptr<RunRoot> own_root_;
  RunRoot* root_;  // nullptr: another process writes
  TrainData data_;
  TrainModel model_;
  data::TrainLoader loader_;
  TrainOptions options_;  // with what the data say
  checkpoint::Value train_args_;
  std::optional<train::Qat> qat_;
  train::Trainer trainer_;
  train::CollapseWatch watch_;
  std::optional<report::TrainRecorder> recorder_;  // where this process writes

  TrainPosition position_;
  double gradient_norms_ = 0;  // sum over the steps of this epoch
  int64_t steps_ = 0;
  double images_per_second_ = 0;  // of the last epoch, without validation
  double seconds_of_epochs_ = 0;  // since this process began
  int64_t epochs_here_ = 0;
  int skipped_steps_ = 0;  // in a row
};

}  // namespace yoloquant::pipeline
