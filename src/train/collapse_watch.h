#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "train/layer_statistics.h"

namespace yoloquant::train {

// What the watch sees of an epoch.
struct EpochHealth {
  int64_t epoch = 0;
  bool finite = true;                 // loss and gradients of all its steps
  std::optional<double> map;          // mAP50-95 of the averaged weights; absent: not validated
  std::optional<double> weights_map;  // of the weights themselves
  double gradient_norm = 0;           // mean over the steps, before clipping
  std::vector<LayerStatistics> layers;
};

struct WatchOptions {
  // Collapse: mAP below (1 - relative_fall) times the best and more than absolute_fall below it.
  double relative_fall = 0.3;
  double absolute_fall = 0.02;
  int64_t tries = 3;         // rollbacks before training ends
  double rate_factor = 0.5;  // of the learning rates, at each rollback
  int64_t blamed = 3;        // layers that a diagnosis names
};

enum class Verdict : uint8_t {
  kGoOn,
  kRollBack,  // to the last good state, with lower rates
  kStop,      // all tries are used up
};

// Throws Error (usage) for options that make no sense.
void check(const WatchOptions& options);

struct WatchDecision {
  Verdict verdict = Verdict::kGoOn;
  bool is_good = false;               // this epoch's state is one to come back to
  std::string diagnosis;              // one line; "" when all is well
  std::vector<std::string> warnings;  // lines on layers that are suspicious for the first time
};

// Sees training collapse and says what to do about it. An epoch is good when its losses are finite
// and its mAP has not fallen by much against the best; what is blamed for a collapse is how the
// quantizers of layers have moved since the last good epoch. It decides only: states are kept and
// restored by its owner.
class CollapseWatch {
 public:
  // Throws Error as check.
  explicit CollapseWatch(const WatchOptions& options);

  WatchDecision look(const EpochHealth& health);

  // The next validation is compared with no other: the model is another from here on.
  void forget_best() { best_.reset(); }

  double rate_factor() const { return rate_factor_; }  // product of all rollbacks'
  int64_t rollbacks() const { return rollbacks_; }
  std::optional<double> best_map() const { return best_; }

  // For checkpoints: {"best", "rollbacks", "rate_factor", "good_epoch", "first_layers",
  // "good_layers", "warned"}. `restore` throws Error for anything else. Rollbacks are not rolled
  // back: after one, go on with this object.
  nlohmann::json state() const;
  void restore(const nlohmann::json& state);

 private:
  std::string what_is_wrong(const EpochHealth& health) const;
  std::string blame(const std::vector<LayerStatistics>& layers) const;

  WatchOptions options_;
  std::optional<double> best_;
  int64_t rollbacks_ = 0;
  double rate_factor_ = 1;
  std::optional<int64_t> good_epoch_;
  std::vector<LayerStatistics> first_;  // of the first good epoch
  std::vector<LayerStatistics> good_;   // of the last good epoch
  std::set<std::string> warned_;        // convs
};

}  // namespace yoloquant::train
