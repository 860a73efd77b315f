#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "base/rank_environment.h"
#include "data/augment.h"
#include "quant/config.h"
#include "train/collapse_watch.h"
#include "train/qat_options.h"
#include "train/train_options.h"

namespace yoloquant::pipeline {

// Which images a model is trained and validated on: one of `yaml` and `coco`.
struct TrainDataOptions {
  std::filesystem::path yaml;  // data.yaml, see data::read_data_yaml
  std::filesystem::path coco;  // root of a data set in COCO's form
  std::string train_split = "train2017";
  std::string val_split = "val2017";
  double fraction = 1;     // of the training images, see data::draw_fraction
  uint64_t seed = 0;       // which ones
  int64_t val_images = 0;  // of the validation images, the first so many by path; 0: all
};

// Training with quantizers.
struct QatSettings {
  quant::QuantizationConfig config;  // scheme and rules by layer
  train::QatOptions options;
  // Where quantizers and weights start: what quant::write_annotations wrote of the model with both
  // heads. "": steps from the weights, and from the first images.
  std::filesystem::path start;
  // Batches whose statistics replace those of the averaged batch norms before each validation; 0:
  // none.
  int64_t norm_batches = 0;
  double distillation = 0;  // weight of the float model's logits in the loss; 0: none
  std::string teacher;      // the float model; "": the model that training starts from
  int64_t gap_period =
      5;  // the weights without averaging are validated every so many epochs; 0: never
};

struct TrainOptions {
  std::string model;  // checkpoint or definition, see load_model
  TrainDataOptions data;
  int64_t image_size = 640;  // pixels of a side, a multiple of 32
  int64_t batch = 16;        // images, over all processes
  int64_t steps =
      0;  // about so many optimizer steps, in whole epochs, not schedule.epochs; 0: those
  uint64_t seed = 0;  // of a definition's weights, the order of images and augmentation
  // schedule.batches and schedule.batch are set from the data.
  train::TrainerOptions trainer;
  data::AugmentOptions augment;
  std::optional<QatSettings> qat;
  train::WatchOptions watch;
  // Validates the model before the first epoch too, as epoch 0: the best model is then never worse
  // than the start.
  bool validate_start = false;

  std::filesystem::path out;
  bool resume = false;
  int64_t save_period = 0;     // keep the state of every so many epochs; 0: none
  int64_t val_period = 1;      // validate every so many epochs, and after the last
  int64_t patience = 100;      // stop after so many epochs without a better model; 0: never
  int workers = 2;             // threads that make batches; <= 0: all CPUs
  int threads = 0;             // of LibTorch's operators; <= 0: all CPUs
  RankEnvironment ranks = {};  // this process among those that train together
  bool sync_norms = false;     // batch norms see the images of all of them
  std::string command_yaml;    // the options as the user gave them: kept as OUT/command.yaml
};

struct TrainResult {
  std::filesystem::path root;
  int64_t epochs = 0;      // done
  bool stopped = false;    // before the last one, as nothing got better
  int64_t best_epoch = 0;  // from 1; 0: the start, or none was validated
  double best_fitness = 0;
  double map50 = 0;  // of the last validation, averaged weights
  double map = 0;
  double best_map = 0;
  double seconds = 0;
  int64_t rollbacks = 0;
};

// Lines for the user while it runs; also in OUT/logs/run.log.
struct TrainEvents {
  std::function<void(std::string_view)> info = [](std::string_view) {};
  std::function<void(std::string_view)> warning = [](std::string_view) {};
};

// What is best: .1 mAP50 + .9 mAP50-95.
double fitness(double map50, double map);

// Trains a model. The folder OUT is described in docs/training.md; OUT/weights/last.pt has all that
// is needed to go on, bit for bit on the CPU, and is written after each epoch and on an
// interruption, which is then thrown (Interrupted). Throws Error (usage) for options that make no
// sense and, with `resume`, for others than the run was started with. A training that collapses
// (see train::CollapseWatch) goes back to the last good epoch; Error with the diagnosis when that
// does not help, weights/best.pt is there then.
//
// Several processes train together when each calls this with the same options but `ranks`, and one
// folder OUT for all. Rank 0 validates, writes and tells events. All stop when one of them is asked
// to, or is gone.
TrainResult train(const TrainOptions& options, const TrainEvents& events = {},
                  Progress& progress = Progress::none());

}  // namespace yoloquant::pipeline
