#include "train/loss.h"

#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "train/tensors.h"

namespace yoloquant::train {
namespace {

Logits logits_of(const graph::Graph& graph, const at::Tensor& images) {
  return TrainableGraph(graph).forward(images, NormMode::kEvaluation);
}

Targets two_targets() {
  return {integers({0, 1}), integers({2, 0}), floats({2, 4}, {4, 4, 30, 28, 20, 10, 60, 50})};
}

TEST(DetectionLoss, WithoutTargetsOnlyTheClassTermsRemain) {
  const graph::Graph graph = tiny_training_graph();
  TrainableGraph model(graph);
  const Logits logits =
      model.forward(uniform("images", {2, 3, 64, 64}, 0, 1), NormMode::kEvaluation);
  const DetectionLoss loss =
      detection_loss(logits, {integers({}), integers({}), floats({0, 4}, {})});
  const std::vector<float> items = values_of(loss.items);
  for (const size_t i : {0, 2, 3, 5}) EXPECT_EQ(items[i], 0) << kLossNames[i];
  for (const size_t i : {1, 4}) EXPECT_GT(items[i], 0) << kLossNames[i];
  EXPECT_FLOAT_EQ(loss.total.item<float>(), 2 * (items[1] + items[4]));
  loss.total.backward();
  for (const auto& [name, parameter] : model.parameters()) {
    if (!parameter.grad().defined()) continue;
    EXPECT_TRUE(parameter.grad().isfinite().all().item<bool>()) << name;
  }
}

// What makes ranks of a data-parallel run add up to one process.
TEST(DetectionLoss, SharesOfABatchAddUpToIt) {
  const graph::Graph graph = tiny_training_graph();
  const at::Tensor images = uniform("images", {2, 3, 64, 64}, 0, 1);
  const Targets all = two_targets();
  at::Tensor sums;
  const DetectionLoss whole =
      detection_loss(logits_of(graph, images), all, {.sum_over_ranks = [&](const at::Tensor& own) {
                       sums = own;
                       return own;
                     }});
  at::Tensor parts = at::zeros_like(whole.items);
  at::Tensor total = at::zeros_like(whole.total);
  for (int64_t rank = 0; rank < 2; ++rank) {
    const Targets own{integers({0}), all.label.slice(0, rank, rank + 1),
                      all.box.slice(0, rank, rank + 1)};
    const DetectionLoss part =
        detection_loss(logits_of(graph, images.slice(0, rank, rank + 1)), own,
                       {.sum_over_ranks = [&](const at::Tensor&) { return sums; }});
    parts = parts.add(part.items);
    total = total.add(part.total);
  }
  EXPECT_TRUE(parts.allclose(whole.items, 1e-5, 1e-6));
  EXPECT_TRUE(total.allclose(whole.total, 1e-5, 1e-6));
}

TEST(DetectionLoss, FallsAlongItsGradient) {
  const graph::Graph graph = tiny_training_graph();
  TrainableGraph model(graph);
  const at::Tensor images = uniform("images", {2, 3, 64, 64}, 0, 1);
  const auto loss = [&] {
    return detection_loss(model.forward(images, NormMode::kEvaluation), two_targets()).total;
  };
  const at::Tensor before = loss();
  before.backward();
  double slope = 0;
  constexpr double kStep = 1e-6;
  for (const auto& [name, parameter] : model.parameters()) {
    const at::Tensor gradient = parameter.grad();
    slope += gradient.square().sum().item<double>();
    parameter.detach().sub_(gradient, kStep);
  }
  const double fall = before.item<double>() - loss().item<double>();
  EXPECT_NEAR(fall, slope * kStep, 0.2 * slope * kStep);
}

}  // namespace
}  // namespace yoloquant::train
