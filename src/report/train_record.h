#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What a training run has to tell. In memory epochs count from 0, as in the trainer and in
// checkpoints; all files (results.csv, TensorBoard, SQLite, curves) count them from 1.
namespace yoloquant::report {

// The parts of the loss, in the order of train::kLossNames: box, class and DFL loss of the one2many
// head, then of the one2one head.
inline constexpr std::array<std::string_view, 6> kLossColumns = {"box_om", "cls_om", "dfl_om",
                                                                 "box_oo", "cls_oo", "dfl_oo"};
using Losses = std::array<double, kLossColumns.size()>;
// Learning rates of train::parameter_groups: lr/pg0 .. lr/pg2.
using Rates = std::array<double, 3>;

// One batch.
struct IterationRecord {
  int64_t epoch = 0;
  int64_t iteration = 0;  // batches before this one since the start of the training
  int64_t images = 0;     // of the batch, over all ranks
  Losses losses{};
  double total = 0;
  Rates rates{};
  double momentum = 0;
  std::optional<double> gradient_norm;  // before clipping; a batch that only accumulates has none
  std::optional<double> loss_scale;     // of the gradient scaler
  double seconds = 0;                   // of the batch
};

struct EpochRecord {
  int64_t epoch = 0;
  double seconds = 0;     // of this epoch, validation included
  Losses train_losses{};  // means over the batches
  // An epoch without validation has none of these.
  std::optional<Losses> val_losses;
  std::optional<double> precision;
  std::optional<double> recall;
  std::optional<double> map50;
  std::optional<double> map;  // mAP50-95
  Rates rates{};
};

// What quantization-aware training knows about one quantizer after an epoch. Shares are of the
// quantizer's codes or values, in 0..1.
struct LayerRecord {
  enum class Kind { kWeight, kActivation };

  int64_t epoch = 0;
  std::string layer;  // the conv's node name
  Kind kind = Kind::kWeight;
  int64_t bits = 0;
  double scale_mean = 0;  // over the channels
  double scale_min = 0;
  double scale_max = 0;
  std::optional<double> scale_drift;  // relative change of scale_mean since the start
  std::optional<double> oscillating;
  std::optional<double> frozen;
  std::optional<double> dead_codes;  // codes that no value has
  std::optional<double> saturated;   // values at the lowest or highest code
  std::optional<double> clipped;     // values outside the range
  std::optional<double> gradient_norm;
};

// Something that happened: rollback, interruption, resume, ...
struct EventRecord {
  int64_t epoch = 0;
  int64_t iteration = 0;  // the batch that comes next
  std::string kind;       // one word
  std::string text;       // one line
};

// A list of images or annotations that the run reads.
struct DataSource {
  std::string name;  // "train", "val", "teacher", ...
  std::string path;
  int64_t items = 0;
  std::string sha256;  // of the list with its contents
};

struct RunRecord {
  std::vector<std::pair<std::string, std::string>> hyperparameters;
  uint64_t seed = 0;
  std::vector<DataSource> data;
  std::vector<std::pair<std::string, std::string>> versions;  // program, git hash, libraries
};

// Where recording goes on: the first epoch and the first batch that are still to come.
struct RecordPoint {
  int64_t epoch = 0;
  int64_t iteration = 0;
};

// The figures of an epoch under Ultralytics' names and in its order: train/box_om ..,
// metrics/precision(B), recall, mAP50, mAP50-95, val/box_om .., lr/pg0 ..
using NamedValue = std::pair<std::string, std::optional<double>>;
std::vector<NamedValue> named_values(const EpochRecord& record);

}  // namespace yoloquant::report
