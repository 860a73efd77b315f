#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace yoloquant::train {

namespace {

constexpr int64_t kLeastWarmup = 100;

// Half to even, as Python rounds.
int64_t rounded(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

}  // namespace

Schedule::Schedule(const ScheduleOptions& options) : options_(options), warmup_(-1) {
  if (options.epochs < 1 || options.batches < 1 || options.batch < 1 || options.nominal_batch < 1) {
    fail_usage(
        "a training needs at least one epoch, batch and image: {} epochs of {} batches of {}",
        options.epochs, options.batches, options.batch);
  }
  if (!(options.rate > 0) || !(options.final_rate >= 0) || !(options.momentum >= 0) ||
      !(options.momentum < 1) || !(options.weight_decay >= 0) || !(options.warmup_epochs >= 0)) {
    fail_usage(
        "learning rate {}, final rate {}, momentum {}, weight decay {} or warm-up {} is out "
        "of range",
        options.rate, options.final_rate, options.momentum, options.weight_decay,
        options.warmup_epochs);
  }
  if (options.warmup_epochs > 0) {
    warmup_ = std::max(rounded(options.warmup_epochs * static_cast<double>(options.batches)),
                       kLeastWarmup);
  }
}

double Schedule::rate_factor(int64_t epoch) const {
  const double done = static_cast<double>(epoch) / static_cast<double>(options_.epochs);
  const double left =
      options_.cosine ? (1 + std::cos(done * std::numbers::pi)) / 2 : std::max(1 - done, 0.0);
  return left * (1 - options_.final_rate) + options_.final_rate;
}

int64_t Schedule::full_accumulation() const {
  return std::max<int64_t>(
      rounded(static_cast<double>(options_.nominal_batch) / static_cast<double>(options_.batch)),
      1);
}

double Schedule::weight_decay() const {
  return options_.weight_decay * static_cast<double>(options_.batch * full_accumulation()) /
         static_cast<double>(options_.nominal_batch);
}

StepSettings Schedule::at(int64_t iteration) const {
  const double rate = options_.rate * rate_factor(iteration / options_.batches);
  if (iteration > warmup_) {
    return {.rates = {rate, rate, rate},
            .momentum = options_.momentum,
            .accumulate = full_accumulation()};
  }
  const double done = static_cast<double>(iteration) / static_cast<double>(warmup_);
  const auto between = [&](double from, double to) { return from + (to - from) * done; };
  const double batches =
      static_cast<double>(options_.nominal_batch) / static_cast<double>(options_.batch);
  return {.rates = {between(options_.warmup_bias_rate, rate), between(0, rate), between(0, rate)},
          .momentum = between(options_.warmup_momentum, options_.momentum),
          .accumulate = std::max<int64_t>(rounded(between(1, batches)), 1)};
}

}  // namespace yoloquant::train
