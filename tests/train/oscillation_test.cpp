#include "train/oscillation.h"

#include <gtest/gtest.h>

#include "train/tensors.h"

namespace yoloquant::train {
namespace {

at::Tensor codes(const std::vector<float>& values) {
  return floats({static_cast<int64_t>(values.size()), 1, 1, 1}, values);
}

// Weight 0 stays, 1 swings, 2 climbs, 3 turns once after a pause.
TEST(OscillationTracker, SeesWeightsThatTurnBack) {
  OscillationTracker tracker(codes({0, 0, 0, 0}), true);
  tracker.update(codes({0, 1, 1, 1}), 0.1);
  EXPECT_EQ(tracker.count().item<double>(), 0);
  tracker.update(codes({0, 0, 2, 1}), 0.1);
  EXPECT_EQ(tracker.count().item<double>(), 1);
  tracker.update(codes({0, 1, 3, 0}), 0.1);
  EXPECT_EQ(tracker.count().item<double>(), 3);
  EXPECT_EQ(tracker.updates(), 3);
  const std::vector<float> f = values_of(tracker.frequency());
  EXPECT_FLOAT_EQ(f[0], 0);
  EXPECT_FLOAT_EQ(f[1], 0.1F + 0.9F * 0.1F);
  EXPECT_FLOAT_EQ(f[2], 0);
  EXPECT_FLOAT_EQ(f[3], 0.1F);
  tracker.clear_count();
  EXPECT_EQ(tracker.count().item<double>(), 0);
  EXPECT_EQ(tracker.updates(), 0);
}

TEST(OscillationTracker, FreezesAtTheMeanCodeForGood) {
  OscillationTracker tracker(codes({3, 3}), true);
  for (int i = 0; i < 40; ++i) tracker.update(codes({i % 4 == 0 ? 3.0F : 4.0F, 3}), 0.1);
  tracker.freeze(0.3);
  EXPECT_EQ(values_of(tracker.frozen().to(at::kFloat)), (std::vector<float>{1, 0}));
  const at::Tensor weight = codes({0.9F, 0.9F});
  tracker.hold(weight, floats({2}, {-0.5F, 0.5F}));
  EXPECT_EQ(values_of(weight), (std::vector<float>{-2, 0.9F}));  // 4 * -.5
  tracker.update(codes({-7, 3}), 0.1);
  tracker.hold(weight, floats({2}, {0.25F, 0.5F}));
  EXPECT_EQ(values_of(weight)[0], 1);
}

TEST(Dampening, DrawsWeightsToTheMiddleOfTheirCodes) {
  // s = .5, codes -2..1: v = .6 (code 1), -1.4 (code -1), 3 (outside)
  const at::Tensor weight = floats({1, 3, 1, 1}, {0.3F, -0.7F, 1.5F}).requires_grad_(true);
  const at::Tensor penalty = dampening_penalty(weight, floats({1}, {0.5F}), {-2, 1});
  EXPECT_NEAR(penalty.item<double>(), 0.2 * 0.2 + 0.2 * 0.2, 1e-6);
  penalty.backward();
  const std::vector<float> gradient = values_of(weight.grad());
  EXPECT_NEAR(gradient[0], 2 * -0.2, 1e-6);
  EXPECT_NEAR(gradient[1], 2 * -0.2, 1e-6);
  EXPECT_EQ(gradient[2], 0);
}

// The toy of the paper: the target of one weight lies between two codes, and the straight-through
// gradient drives it back and forth over the threshold between them.
class Swing : public testing::Test {
 protected:
  // Trains, and gives the oscillations of the last 100 of 400 steps.
  double train(double dampening, bool freezing) {
    const at::Tensor log_step = floats({1}, {0});
    const at::Tensor step = floats({1}, {1});
    OscillationTracker tracker(weight_codes(weight_, step, {-8, 7}), freezing);
    for (int i = 0; i < 400; ++i) {
      if (i == 300) tracker.clear_count();
      weight_.mutable_grad() = at::Tensor();
      at::Tensor loss = quantize_weight(weight_, log_step, {}, {-8, 7}).sub(2.4).square().sum();
      if (dampening > 0) {
        loss = loss.add(dampening_penalty(weight_, step, {-8, 7}), dampening * i / 400.0);
      }
      loss.backward();
      weight_.detach().sub_(weight_.grad(), 0.05);
      tracker.update(weight_codes(weight_, step, {-8, 7}), 0.05);
      if (!freezing) continue;
      tracker.freeze(0.15);
      tracker.hold(weight_, step);
    }
    return tracker.count().item<double>();
  }

  at::Tensor weight_ = floats({1, 1, 1, 1}, {2.45F}).requires_grad_(true);
};

TEST_F(Swing, IsSeen) { EXPECT_GT(train(0, false), 20); }

TEST_F(Swing, IsDampened) {
  EXPECT_EQ(train(4, false), 0);
  EXPECT_EQ(std::round(weight_.item<float>()), 2);
}

TEST_F(Swing, IsFrozenAtTheBetterCode) {
  EXPECT_EQ(train(0, true), 0);
  EXPECT_EQ(weight_.item<float>(), 2);
}

}  // namespace
}  // namespace yoloquant::train
