#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "train/amp.h"
#include "train/small_training.h"
#include "train/training_part.h"

namespace yoloquant::train {
namespace {

void expect_equal(const TensorMap& actual, const TensorMap& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, value] : expected) EXPECT_TRUE(equal(actual.at(name), value)) << name;
}

void expect_equal(const TrainerState& actual, const TrainerState& expected) {
  expect_equal(actual.model, expected.model);
  expect_equal(actual.average, expected.average);
  expect_equal(actual.optimizer, expected.optimizer);
  expect_equal(actual.gradients, expected.gradients);
  expect_equal(actual.parts, expected.parts);
  expect_equal(actual.part_average, expected.part_average);
  EXPECT_EQ(actual.iteration, expected.iteration);
  EXPECT_EQ(actual.last_step, expected.last_step);
  EXPECT_EQ(actual.updates, expected.updates);
}

TEST(Trainer, AccumulatedGradientsAreThoseOfALargerBatch) {
  // Equal halves, since each batch's loss is divided by its own sum of scores.
  TrainerOptions halves = small_options(2, 4);
  halves.freeze_norm = true;
  TrainerOptions whole = small_options(4, 4);
  whole.freeze_norm = true;
  Trainer accumulating(tiny_training_graph(), halves);
  Trainer other(tiny_training_graph(), whole);
  EXPECT_FALSE(accumulating.step(make_batch({0, 1})).stepped);
  EXPECT_EQ(accumulating.state().gradients.size(), accumulating.state().optimizer.size());
  const StepReport second = accumulating.step(make_batch({1, 0}));
  const StepReport all = other.step(make_batch({0, 1, 1, 0}));
  ASSERT_TRUE(second.stepped);
  ASSERT_TRUE(all.stepped);
  EXPECT_NEAR(second.gradient_norm / all.gradient_norm, 1, 1e-5);
  const TensorMap weights = accumulating.state().model;
  const TensorMap start = model::state_dict(tiny_training_graph());
  double moved = 0;
  double difference = 0;
  for (const auto& [name, value] : other.state().model) {
    if (value.dtype() != DType::kFloat32) continue;
    const at::Tensor expected = exec::view_of(value);
    moved += expected.sub(exec::view_of(start.at(name))).square().sum().item<double>();
    difference += expected.sub(exec::view_of(weights.at(name))).square().sum().item<double>();
  }
  EXPECT_GT(moved, 0);
  EXPECT_LT(std::sqrt(difference / moved), 1e-4);
}

TEST(Trainer, GoesOnFromItsStateToTheBit) {
  const auto make = [] {
    return Trainer(tiny_training_graph(), small_options(2, 4), {std::make_shared<Gain>()});
  };
  Trainer straight = make();
  Trainer first = make();
  for (int i = 0; i < 3; ++i) {
    straight.step(make_batch({i, i + 1}));
    first.step(make_batch({i, i + 1}));
  }
  EXPECT_FALSE(first.state().gradients.empty());
  Trainer second = make();
  second.load(first.state());
  expect_equal(second.state(), first.state());
  for (int i = 3; i < 6; ++i) {
    straight.step(make_batch({i, i + 1}));
    second.step(make_batch({i, i + 1}));
  }
  expect_equal(second.state(), straight.state());
  EXPECT_FALSE(equal(straight.state().model.at("model.0.conv.weight"),
                     first.state().model.at("model.0.conv.weight")));
}

TEST(Trainer, PartsAreTrainedAveragedAndAsked) {
  const auto part = std::make_shared<Gain>();
  Trainer trainer(tiny_training_graph(), small_options(2, 2), {part});
  for (int i = 0; i < 4; ++i) trainer.step(make_batch({i, i + 1}));
  EXPECT_EQ(part->steps, 4);
  EXPECT_DOUBLE_EQ(part->progress, 3.0 / 16);
  const TrainerState state = trainer.state();
  const float gain = state.parts.at("gain").data<float>()[0];
  EXPECT_NE(gain, 3);
  EXPECT_NE(state.part_average.at("gain").data<float>()[0], 3);
  EXPECT_NE(state.part_average.at("gain").data<float>()[0], gain);
  EXPECT_FALSE(state.average.contains("gain"));
}

TEST(Trainer, AveragedHoldsTheMeansAndGivesTheWeightsBack) {
  Trainer trainer(tiny_training_graph(), small_options(2, 2));
  for (int i = 0; i < 3; ++i) trainer.step(make_batch({i, i + 1}));
  const TrainerState before = trainer.state();
  {
    const Trainer::Averaged averaged(trainer);
    for (const auto& [name, value] : trainer.state().model) {
      EXPECT_TRUE(equal(value, before.average.at(name))) << name;
    }
  }
  expect_equal(trainer.state(), before);
}

TEST(Trainer, EvaluationGivesTheLossOfFrozenTraining) {
  TrainerOptions options = small_options(2, 2);
  options.freeze_norm = true;
  Trainer trainer(tiny_training_graph(), options);
  const data::TrainBatch batch = make_batch({0, 1});
  std::vector<float> images(batch.pixels.size());
  batch.to_float(images);
  const Evaluation evaluation = trainer.evaluate(
      {.images = images, .count = batch.count, .size = batch.size, .labels = batch.labels});
  const StepReport step = trainer.step(batch);
  for (size_t i = 0; i < step.losses.size(); ++i) {
    EXPECT_NEAR(evaluation.losses[i] / step.losses[i], 1, 1e-5) << i;
  }
  EXPECT_EQ(evaluation.detections.shape(), (Shape{2, 4 + 3, 32 * 32 + 16 * 16}));
}

TEST(Trainer, WhatIsNotFiniteIsReportedAndChangesNothing) {
  graph::Graph graph = tiny_training_graph();
  Tensor& weight = graph.parameters.at("model.0.conv.weight");
  weight.mutable_data<float>()[0] = std::numeric_limits<float>::infinity();
  TrainerOptions options = small_options(2, 2);
  options.freeze_norm = true;
  Trainer trainer(graph, options);
  const TrainerState before = trainer.state();
  const StepReport report = trainer.step(make_batch({0, 1}));
  EXPECT_FALSE(report.finite);
  EXPECT_FALSE(report.stepped);
  const TrainerState after = trainer.state();
  expect_equal(after.model, before.model);
  expect_equal(after.optimizer, before.optimizer);
  EXPECT_TRUE(after.gradients.empty());
  EXPECT_EQ(after.iteration, 1);
}

TEST(Trainer, Bfloat16IsNearFloat32) {
  TrainerOptions options = small_options(2, 2);
  Trainer full(tiny_training_graph(), options);
  options.precision = Precision::kBFloat16;
  Trainer half(tiny_training_graph(), options);
  const StepReport expected = full.step(make_batch({0, 1}));
  const StepReport actual = half.step(make_batch({0, 1}));
  EXPECT_NE(actual.total, expected.total);
  EXPECT_NEAR(actual.total / expected.total, 1, 0.02);
  EXPECT_NEAR(actual.gradient_norm / expected.gradient_norm, 1, 0.1);
}

TEST(Trainer, RefusesWhatMakesNoSense) {
  TrainerOptions options = small_options(2, 2);
  options.precision = Precision::kFloat16;
  EXPECT_THROW(Trainer(tiny_training_graph(), options), Error);
  options = small_options(2, 2);
  options.clip_norm = -1;
  EXPECT_THROW(Trainer(tiny_training_graph(), options), Error);
  Trainer trainer(tiny_training_graph(), small_options(2, 2));
  data::TrainBatch batch = make_batch({0});
  batch.labels[0].class_id = 3;
  EXPECT_THROW(trainer.step(batch), Error);
  TrainerState state = trainer.state();
  state.optimizer.clear();
  EXPECT_THROW(trainer.load(state), Error);
}

TEST(GradientScaler, HalvesOnOverflowAndDoublesAfterTwoThousandSteps) {
  GradientScaler scaler(true, "cpu");
  EXPECT_EQ(scaler.scale(floats({}, {3})).item<float>(), 3 * 65536.0F);
  const at::Tensor gradient = floats({2}, {65536, 2 * 65536.0F});
  EXPECT_TRUE(scaler.unscale({gradient}));
  EXPECT_EQ(values_of(gradient), (std::vector<float>{1, 2}));
  scaler.update();
  EXPECT_FALSE(scaler.unscale({floats({1}, {std::numeric_limits<float>::infinity()})}));
  scaler.update();
  EXPECT_EQ(scaler.factor(), 32768);
  for (int i = 0; i < 1999; ++i) {
    scaler.unscale({gradient});
    scaler.update();
  }
  EXPECT_EQ(scaler.factor(), 32768);
  scaler.unscale({gradient});
  scaler.update();
  EXPECT_EQ(scaler.factor(), 65536);
}

}  // namespace
}  // namespace yoloquant::train
