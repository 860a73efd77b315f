#include "train/schedule.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace yoloquant::train {
namespace {

ScheduleOptions small_options() {
  return {.rate = 0.01, .final_rate = 0.1, .epochs = 10, .batches = 100, .batch = 8};
}

TEST(Schedule, WarmsUpThenFallsByEpoch) {
  const Schedule schedule(small_options());  // warm-up of 300 batches
  const StepSettings first = schedule.at(0);
  EXPECT_EQ(first.rates, (std::array<double, 3>{0.1, 0, 0}));
  EXPECT_EQ(first.momentum, 0.8);
  EXPECT_EQ(first.accumulate, 1);

  // np.interp(150, [0, 300], [.1, .0091]) in epoch 1, and so on.
  const StepSettings half = schedule.at(150);
  EXPECT_NEAR(half.rates[0], (0.1 + 0.0091) / 2, 1e-12);
  EXPECT_NEAR(half.rates[1], 0.0091 / 2, 1e-12);
  EXPECT_NEAR(half.momentum, (0.8 + 0.937) / 2, 1e-12);
  EXPECT_EQ(half.accumulate, 4);  // 4.5, to even

  const StepSettings last = schedule.at(999);
  for (const double rate : last.rates) EXPECT_NEAR(rate, 0.01 * (0.1 * 0.9 + 0.1), 1e-12);
  EXPECT_EQ(last.momentum, 0.937);
  EXPECT_EQ(last.accumulate, 8);
}

TEST(Schedule, CosineAndLinearAgreeAtTheEndsAndTheMiddle) {
  ScheduleOptions options = small_options();
  const Schedule linear(options);
  options.cosine = true;
  const Schedule cosine(options);
  for (const int64_t epoch : {0, 5, 10}) {
    EXPECT_NEAR(cosine.rate_factor(epoch), linear.rate_factor(epoch), 1e-12) << epoch;
  }
  EXPECT_NEAR(linear.rate_factor(2), 0.82, 1e-12);
  EXPECT_NEAR(cosine.rate_factor(2), (1 + 0.8090169943749475) / 2 * 0.9 + 0.1, 1e-12);
}

TEST(Schedule, LargeBatchesDecayMoreAndNeedNoAccumulation) {
  ScheduleOptions options = small_options();
  EXPECT_NEAR(Schedule(options).weight_decay(), 5e-4, 1e-12);
  options.batch = 128;
  EXPECT_EQ(Schedule(options).at(999).accumulate, 1);
  EXPECT_NEAR(Schedule(options).weight_decay(), 1e-3, 1e-12);
}

TEST(Schedule, WarmUpIsAtLeastHundredBatchesOrNone) {
  ScheduleOptions options = small_options();
  options.batches = 5;
  EXPECT_LT(Schedule(options).at(49).rates[1], 0.01 * Schedule(options).rate_factor(9));
  options.warmup_epochs = 0;
  EXPECT_EQ(Schedule(options).at(0).rates, (std::array<double, 3>{0.01, 0.01, 0.01}));
  options.epochs = 0;
  EXPECT_THROW(Schedule{options}, Error);
}

}  // namespace
}  // namespace yoloquant::train
