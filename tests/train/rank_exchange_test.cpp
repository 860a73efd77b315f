#include "train/rank_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <optional>

#include "train/ranks.h"
#include "train/small_training.h"

namespace yoloquant::train {
namespace {

// Of a tensor's values, as a share of its greatest (of 1, where that is less).
double largest_difference(const TensorMap& a, const TensorMap& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (const auto& [name, value] : b) {
    const at::Tensor expected = exec::view_of(value).to(at::kDouble);
    const at::Tensor difference = exec::view_of(a.at(name)).to(at::kDouble).sub(expected);
    largest = std::fmax(largest, difference.abs().max().item<double>() /
                                     std::fmax(1, expected.abs().max().item<double>()));
  }
  return largest;
}

Trainer make_trainer(bool freeze_norm, std::shared_ptr<RankExchange> exchange = nullptr) {
  TrainerOptions options = small_options(4, 8);
  options.freeze_norm = freeze_norm;
  return {tiny_training_graph(), options, {std::make_shared<Gain>()}, std::move(exchange)};
}

// The images of a rank in a global batch of four.
data::TrainBatch share(const RankEnvironment& rank, int step) {
  const int first = 4 * step + rank.rank;
  return make_batch({first, first + 2});
}

data::TrainBatch whole(int step) {
  const int first = 4 * step;
  return make_batch({first, first + 2, first + 1, first + 3});
}

TEST(Ranks, OfOneExchangeNothing) {
  Ranks ranks({}, "cpu", false);
  EXPECT_EQ(ranks.exchange(), nullptr);
  std::array<double, 2> values{1, 2};
  ranks.sum(values);
  EXPECT_THAT(values, testing::ElementsAre(1, 2));
  EXPECT_TRUE(ranks.any(true));
  ranks.barrier();
}

TEST(Ranks, SumAndVote) {
  in_processes(2, [](const RankEnvironment& environment) {
    Ranks ranks(environment, "cpu", false);
    std::array<double, 2> values{1.0 + environment.rank, 0.5};
    ranks.sum(values);
    EXPECT_THAT(values, testing::ElementsAre(3, 1));
    EXPECT_TRUE(ranks.any(environment.rank == 1));
    ranks.barrier();
  });
}

// Five batches, a step every second one; gone on with from the state after the third.
TEST(Ranks, TrainAndGoOnAsOneProcess) {
  in_processes(2, [](const RankEnvironment& environment) {
    Ranks ranks(environment, "cpu", false);
    Trainer alone = make_trainer(true);
    std::optional<Trainer> together(make_trainer(true, ranks.exchange()));
    for (int step = 0; step < 5; ++step) {
      if (step == 3) {
        const TrainerState state = together->state();
        EXPECT_FALSE(state.gradients.empty());
        EXPECT_LT(largest_difference(state.gradients, alone.state().gradients), 1e-5);
        together.reset();
        together.emplace(make_trainer(true, ranks.exchange()));
        together->load(state);
      }
      const StepReport expected = alone.step(whole(step));
      const StepReport report = together->step(share(environment, step));
      EXPECT_EQ(report.stepped, expected.stepped);
      EXPECT_NEAR(report.total / expected.total, 1, 1e-4);
      EXPECT_NEAR(report.losses[1] / expected.losses[1], 1, 1e-4);
    }
    const TrainerState state = together->state();
    const TrainerState expected = alone.state();
    EXPECT_LT(largest_difference(state.model, expected.model), 1e-5);
    EXPECT_LT(largest_difference(state.average, expected.average), 1e-5);
    EXPECT_LT(largest_difference(state.parts, expected.parts), 1e-5);
    ranks.barrier();
  });
}

// Without synchronized norms, those of rank 0 are everybody's after a step.
TEST(Ranks, HoldTheSameStateAfterEachStep) {
  in_processes(2, [](const RankEnvironment& environment) {
    Ranks ranks(environment, "cpu", false);
    Trainer trainer = make_trainer(false, ranks.exchange());
    for (int step = 0; step < 2; ++step) trainer.step(share(environment, step));
    const std::vector<data::TrainBatch> batches{share(environment, 2)};
    for (const bool estimate : {false, true}) {
      if (estimate) trainer.estimate_norms(batches);
      for (const auto& [name, value] : trainer.state().model) {
        const double sum = exec::view_of(value).to(at::kDouble).sum().item<double>();
        std::array<double, 1> of_both{sum};
        ranks.sum(of_both);
        EXPECT_EQ(of_both[0], 2 * sum) << name;
      }
    }
    ranks.barrier();
  });
}

class Spoiler : public TrainingPart {
 public:
  at::Tensor penalty(const BatchView& /*batch*/) override {
    return floats({}, {std::numeric_limits<float>::quiet_NaN()});
  }
};

TEST(Ranks, ALossThatIsNotFiniteOnOneIsSoOnAll) {
  in_processes(2, [](const RankEnvironment& environment) {
    Ranks ranks(environment, "cpu", false);
    std::vector<std::shared_ptr<TrainingPart>> parts;
    if (environment.rank == 1) parts.push_back(std::make_shared<Spoiler>());
    Trainer trainer(tiny_training_graph(), small_options(4, 4), parts, ranks.exchange());
    const StepReport report = trainer.step(share(environment, 0));
    EXPECT_FALSE(report.finite);
    EXPECT_FALSE(report.stepped);
    ranks.barrier();
  });
}

}  // namespace
}  // namespace yoloquant::train
