#include "train/gradient_reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/loss.h"
#include "train/optimizer.h"
#include "train/ranks.h"
#include "train/sync_norm.h"
#include "train/tensors.h"

namespace yoloquant::train {
namespace {

using testing::ElementsAre;

TEST(BucketSizes, FillFromTheEndWithASmallFirst) {
  constexpr int64_t kMiB = 1 << 20;
  EXPECT_THAT(bucket_sizes({}), ElementsAre());
  EXPECT_THAT(bucket_sizes({4, 4, 4}), ElementsAre(3));
  const std::vector<int64_t> large(400, kMiB / 2);  // 200 MiB
  EXPECT_THAT(bucket_sizes(large), ElementsAre(2, 50, 50, 50, 50, 50, 50, 50, 48));
  const std::vector<int64_t> small(36, kMiB / 4);  // 9 MiB, as YOLOv10n
  EXPECT_THAT(bucket_sizes(small), ElementsAre(4, 9, 9, 9, 5));
  EXPECT_THAT(bucket_sizes({kMiB, 100 * kMiB, 2 * kMiB}), ElementsAre(1, 1, 1));
}

at::Tensor parameter(float value) { return floats({1}, {value}).requires_grad_(true); }

TEST(GradientReducer, SumsWhatAnyRankHas) {
  in_ranks(2, [](ProcessGroup& group) {
    const at::Tensor both = parameter(1);
    const at::Tensor first_only = parameter(2);
    const at::Tensor unused = parameter(3);
    GradientReducer reducer(group, {both, first_only, unused});
    EXPECT_EQ(reducer.buckets(), 1U);
    const bool is_first = group.rank() == 0;
    const auto backward = [&] {
      at::Tensor loss = both.mul(is_first ? 10 : 5);
      if (is_first) loss = loss.add(first_only.mul(7));
      loss.sum().backward();
    };
    for (const float expected : {15.F, 30.F}) {
      both.mutable_grad() = first_only.mutable_grad() = at::Tensor();
      // Earlier backwards of the step accumulate and send nothing.
      if (expected > 15) backward();
      reducer.arm();
      backward();
      reducer.finish();
      EXPECT_THAT(values_of(both.grad()), ElementsAre(expected));
      EXPECT_THAT(values_of(first_only.grad()), ElementsAre(7 * expected / 15));
      EXPECT_FALSE(unused.grad().defined());
    }
    EXPECT_THROW(reducer.finish(), Error);
  });
}

TEST(GradientReducer, IsForOneBackward) {
  in_ranks(2, [](ProcessGroup& group) {
    const at::Tensor p = parameter(1);
    GradientReducer reducer(group, {p});
    reducer.arm();
    p.mul(2).sum().backward();
    EXPECT_THROW(p.mul(2).sum().backward(), Error);
    reducer.finish();
  });
}

TEST(GradientReducer, LeavesNoHooksBehind) {
  in_ranks(2, [](ProcessGroup& group) {
    const at::Tensor p = parameter(1);
    {
      GradientReducer reducer(group, {p});
      reducer.arm();
    }
    p.mul(2).sum().backward();
    EXPECT_THAT(values_of(p.grad()), ElementsAre(2));
  });
}

struct Batch {
  at::Tensor images;
  Targets targets;
};

// Images [begin, end) of a batch with one object each.
Batch batch_part(const std::string& name, int64_t begin, int64_t end) {
  std::vector<int64_t> image;
  std::vector<int64_t> label;
  std::vector<float> box;
  for (int64_t i = begin; i < end; ++i) {
    image.push_back(i - begin);
    label.push_back(i % 3);
    const auto shift = static_cast<float>(5 * i);
    box.insert(box.end(), {4 + shift, 6, 20 + shift, 30 + shift / 2});
  }
  return {uniform(name, {4, 3, 64, 64}, 0, 1).slice(0, begin, end),
          {integers(image), integers(label), floats({end - begin, 4}, box)}};
}

constexpr int kSteps = 3;

// A few steps of two backwards each on images [begin, end) of every batch.
void train(TrainableGraph& model, ProcessGroup& group, NormMode mode, int64_t begin, int64_t end) {
  Optimizer optimizer(OptimizerKind::kSgd, parameter_groups(model, 5e-4));
  GradientReducer reducer(group, model.parameters_in_order());
  const LossOptions options{.sum_over_ranks = [&](const at::Tensor& t) { return group.sum(t); }};
  for (int step = 0; step < kSteps; ++step) {
    optimizer.clear_gradients();
    for (int part = 0; part < 2; ++part) {
      const Batch batch = batch_part(fmt::format("batch {}.{}", step, part), begin, end);
      const DetectionLoss loss =
          detection_loss(model.forward(batch.images, mode), batch.targets, options);
      if (part == 1) reducer.arm();
      loss.total.backward();
    }
    reducer.finish();
    optimizer.step(std::vector<double>{1e-3, 1e-3, 1e-3}, 0.9);
  }
}

// Of a tensor's values, as a share of its greatest (of 1, where that is less).
double largest_difference(const exec::NamedTensors& a, const exec::NamedTensors& b) {
  double largest = 0;
  for (const auto& [name, value] : a) {
    const at::Tensor expected = b.at(name).detach();
    const at::Tensor difference = value.detach().to(at::kDouble).sub(expected);
    largest = std::max(largest, difference.abs().max().item<double>() /
                                    std::max(1.0, expected.abs().max().item<double>()));
  }
  return largest;
}

// Three images on one rank and one on the other.
void expect_two_ranks_to_equal_one(ProcessGroup& group, NormMode mode) {
  const graph::Graph graph = tiny_training_graph();
  TrainableGraph alone(graph);
  ProcessGroup of_one;
  train(alone, of_one, mode, 0, 4);

  TrainableGraph model(graph);
  if (mode == NormMode::kTraining) model.set_norm_hook(synchronized_norm(group));
  const bool is_first = group.rank() == 0;
  train(model, group, mode, is_first ? 0 : 3, is_first ? 3 : 4);
  EXPECT_LT(largest_difference(model.state(), alone.state()), 1e-5);
  EXPECT_GT(largest_difference(model.parameters(), TrainableGraph(graph).parameters()), 1e-2);

  const exec::NamedTensors own = model.state();
  for (const auto& [name, value] : own) {
    const at::Tensor of_first = value.detach().clone();
    group.broadcast({{name, of_first}});
    EXPECT_TRUE(of_first.equal(value)) << name << " differs between the ranks";
  }
}

TEST(DataParallel, TwoRanksEqualOneWithNormsInEvaluationMode) {
  in_ranks(
      2, [](ProcessGroup& group) { expect_two_ranks_to_equal_one(group, NormMode::kEvaluation); });
}

TEST(DataParallel, TwoRanksEqualOneWithSynchronizedNorms) {
  in_ranks(2,
           [](ProcessGroup& group) { expect_two_ranks_to_equal_one(group, NormMode::kTraining); });
}

}  // namespace
}  // namespace yoloquant::train
