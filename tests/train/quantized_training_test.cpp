#include "train/quantized_training.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "exec/executor.h"
#include "graph/passes.h"
#include "quant/calibration_data.h"
#include "quant/quantize.h"
#include "train/distillation.h"
#include "train/tensors.h"
#include "train/training_annotations.h"

namespace yoloquant::train {
namespace {

at::Tensor images(int64_t index = 0) {
  return uniform("images" + std::to_string(index), {2, 3, 64, 64}, 0, 1);
}

// A model whose batch norms have statistics that fit its weights, and some negative scales.
graph::Graph start_graph() {
  graph::Graph graph = tiny_training_graph();
  TrainableGraph model(graph);
  model.parameters().at("model.0.bn.weight").detach().slice(0, 0, 3).neg_();
  model.parameters().at("model.1.cv1.bn.weight").detach().slice(0, 1, 2).neg_();
  estimate_norms(model, 2, images);
  model.store(graph);
  return graph;
}

quant::QuantizationConfig config(const std::string& scheme, const std::string& method = "nearest") {
  quant::QuantizationConfig config;
  config.scheme = quant::parse_scheme(scheme);
  config.method = method;
  return config;
}

graph::Graph quantized(const graph::Graph& graph, const quant::QuantizationConfig& config) {
  quant::MemoryCalibrationData data(exec::to_host(at::cat({images(0), images(1)}, 0)));
  return quant::quantize_model(graph, graph::Head::kOneToMany, config, data).graph;
}

// |a - b| / |b|
double distance(const at::Tensor& a, const at::Tensor& b) {
  return (a.sub(b).norm().item<double>()) / b.norm().item<double>();
}

// Class scores in evaluation mode and of an inference graph's executor, on an image that no one has
// seen.
at::Tensor scores(TrainableGraph& model, graph::Head head = graph::Head::kOneToMany) {
  const at::NoGradGuard guard;
  const Logits logits = model.forward(images(7), NormMode::kEvaluation);
  const HeadLogits& own = head == graph::Head::kOneToOne ? logits.one2one : logits.one2many;
  return own.classes.sigmoid();
}
at::Tensor scores(const graph::Graph& graph, double brightness = 1) {
  exec::Executor executor(graph, {.device = "cpu"});
  return executor.run(std::vector<at::Tensor>{images(7).mul(brightness)})[0].slice(1, 4).clone();
}

// Of the executor's result for an exported graph. Activations that lie on the border of two codes
// fall to either side by the last bit of what came before: what a millionth of the image, more or
// less, does to them is allowed.
double tolerance(const graph::Graph& graph) {
  const at::Tensor plain = scores(graph);
  return 1e-4 + 2 * std::max(distance(scores(graph, 1 + 1e-6), plain),
                             distance(scores(graph, 1 - 1e-6), plain));
}

class QuantizedTrainingTest : public testing::Test {
 protected:
  // Steps towards the float model, from `first` on.
  double train(TrainableGraph& model, QuantizedTraining& qat, int first, int last, int total,
               double rate = 2e-3) {
    TrainableGraph teacher(graph_);
    std::vector<ParameterGroup> groups = parameter_groups(model, 0);
    groups.push_back(qat.parameter_group());
    Optimizer optimizer(OptimizerKind::kAdamW, groups);
    double loss = 0;
    for (int i = first; i < last; ++i) {
      const double progress = static_cast<double>(i) / total;
      const at::Tensor batch = images(i % 3);
      const Logits target = [&] {
        const at::NoGradGuard guard;
        return teacher.forward(batch, NormMode::kEvaluation);
      }();
      at::Tensor sum =
          distillation_loss(model.forward(batch, qat.norm_mode(progress)), target, 64 * 64);
      loss = sum.item<double>();
      if (const at::Tensor penalty = qat.penalty(progress); penalty.defined()) {
        sum = sum.add(penalty);
      }
      sum.backward();
      qat.before_step(progress);
      optimizer.step(std::vector<double>{rate, rate, rate, rate * qat.step_rate()}, 0.9);
      optimizer.clear_gradients();
      qat.after_step(progress);
    }
    return loss;
  }

  graph::Graph graph_ = start_graph();
};

TEST_F(QuantizedTrainingTest, StartsAsThePostTrainingResult) {
  for (const char* scheme : {"w4a16", "w4a8"}) {
    // Learned rounding: codes and biases are other than the nearest.
    const graph::Graph annotated = quantized(graph_, config(scheme, "bias,gptq"));
    TrainableGraph model(graph_);
    const double before = distance(scores(model), scores(annotated));
    const QuantizedTraining qat(model, annotated);
    const double after = distance(scores(model), scores(annotated));
    EXPECT_GT(before, 1e-2) << scheme;
    EXPECT_LT(after, tolerance(annotated)) << scheme;
    // Far from what codes and biases that are not taken over would do.
    const at::Tensor nearest = scores(quantized(graph_, config(scheme, "nearest")));
    EXPECT_LT(tolerance(annotated), 0.1 * distance(nearest, scores(annotated))) << scheme;
  }
}

TEST_F(QuantizedTrainingTest, WhatIsStoredComputesTheSame) {
  for (const char* scheme : {"w4a16", "w4a8", "w3a8"}) {
    graph::Graph annotated = quantized(graph_, config(scheme));
    TrainableGraph model(graph_);
    QuantizedTraining qat(model, annotated, {.learn_zero_points = true});
    const at::Tensor start = scores(model);
    train(model, qat, 0, 6, 6);
    estimate_norms(model, 2, images);
    const at::Tensor trained = scores(model);
    EXPECT_GT(distance(trained, start), 1e-2) << scheme;
    qat.store(annotated);
    EXPECT_LT(distance(scores(annotated), trained), tolerance(annotated)) << scheme;
    EXPECT_LT(tolerance(annotated), 0.1 * distance(trained, start)) << scheme;
    EXPECT_EQ(annotated.quantization.at("model.0.conv").input.has_value(),
              std::string(scheme) != "w4a16");
    graph::check(annotated);
  }
}

TEST_F(QuantizedTrainingTest, TrainsFromScratchWithBothHeads) {
  quant::QuantizationConfig settings = config("w4a8");
  settings.rules.push_back({.match = "model.0.conv", .overrides = {}});
  settings.rules[0].overrides.weight_bits = 8;
  graph::Graph annotated = annotate_for_training(graph_, settings);
  TrainableGraph model(graph_);
  QuantizedTraining qat(model, annotated);
  ASSERT_TRUE(qat.needs_input_ranges());
  EXPECT_THROW(scores(model), Error);
  qat.set_input_ranges(2, images);
  ASSERT_FALSE(qat.needs_input_ranges());
  train(model, qat, 0, 3, 3);
  for (const graph::Head head : {graph::Head::kOneToMany, graph::Head::kOneToOne}) {
    graph::Graph exported = graph::keep_head(annotated, head);
    qat.store(exported);
    EXPECT_LT(distance(scores(exported), scores(model, head)), tolerance(exported));
    EXPECT_EQ(exported.quantization.at("model.0.conv").weight->bits, 8);
    EXPECT_EQ(exported.quantization.at("model.1.cv1.conv").weight->bits, 4);
    for (const auto& [conv, annotation] : exported.quantization) {
      EXPECT_TRUE(annotation.input.has_value()) << conv;
      EXPECT_EQ(annotation.weight->is_signed(), conv.find("dfl") == std::string::npos) << conv;
    }
  }
}

TEST_F(QuantizedTrainingTest, TrainingBringsItCloserToTheFloatModel) {
  TrainableGraph floats(graph_);
  const at::Tensor wanted = scores(floats);
  TrainableGraph model(graph_);
  QuantizedTraining qat(model, quantized(graph_, config("w3a16")), {.freeze_norms_after = 0});
  const double before = distance(scores(model), wanted);
  const double first = train(model, qat, 0, 1, 30, 5e-4);
  const double last = train(model, qat, 1, 31, 31, 5e-4);  // the same batch
  EXPECT_LT(last, 0.8 * first);
  EXPECT_LT(distance(scores(model), wanted), 0.95 * before);
}

TEST_F(QuantizedTrainingTest, CodesDoNotDependOnBatchNorms) {
  TrainableGraph model(graph_);
  QuantizedTraining qat(model, quantized(graph_, config("w4a16")));
  graph::Graph first = quantized(graph_, config("w4a16"));
  graph::Graph second = first;
  qat.store(first);
  for (const auto& [name, buffer] : model.buffers()) {
    if (name.ends_with("running_var")) buffer.mul_(1.7);
  }
  model.parameters().at("model.0.bn.weight").detach().mul_(0.3);
  qat.store(second);
  for (const auto& [conv, annotation] : first.quantization) {
    const Tensor a = graph::quantize(first.parameter(conv + ".weight"), *annotation.weight);
    const Tensor b =
        graph::quantize(second.parameter(conv + ".weight"), *second.quantization.at(conv).weight);
    EXPECT_TRUE(equal(a, b)) << conv;
  }
}

TEST_F(QuantizedTrainingTest, AStateGoesOnBitForBit) {
  const graph::Graph annotated = quantized(graph_, config("w4a8"));
  const QatOptions options{.dampening = 1e-2,
                           .freezing = true,
                           .freeze_threshold = 0.05,
                           .oscillation_momentum = 0.2,
                           .stages = {{.progress = 0, .bits = 6}, {.progress = 0.5, .bits = 4}}};
  TrainableGraph model(graph_);
  QuantizedTraining qat(model, annotated, options);
  qat.begin_epoch(0);
  train(model, qat, 0, 4, 8);
  const TensorMap saved = exec::to_host(qat.state());
  graph::Graph weights = graph_;
  model.store(weights);

  TrainableGraph other(graph_);
  QuantizedTraining resumed(other, annotated, options);
  resumed.load(saved, "the checkpoint");
  other.load(weights);
  const auto go_on = [&](TrainableGraph& m, QuantizedTraining& q) {
    EXPECT_TRUE(q.begin_epoch(0.5));  // 6 -> 4 bits
    EXPECT_FALSE(q.begin_epoch(0.5));
    train(m, q, 4, 8, 8);
    TensorMap all = exec::to_host(q.state());
    all.merge(exec::to_host(m.state()));
    return all;
  };
  const TensorMap expected = go_on(model, qat);
  for (const auto& [name, value] : go_on(other, resumed)) {
    EXPECT_TRUE(equal(value, expected.at(name))) << name;
  }
  EXPECT_EQ(qat.statistics()[0].weight_bits, 4);

  TensorMap damaged = saved;
  damaged.at("model.0.conv.weight_bits") = Tensor::from<int64_t>({1}, {99});
  EXPECT_THROW(resumed.load(damaged, "the checkpoint"), Error);
  damaged.erase("model.0.conv.weight_bits");
  EXPECT_THROW(resumed.load(damaged, "the checkpoint"), Error);
}

TEST_F(QuantizedTrainingTest, CorrectionTrainsScalesAndShiftsOfChannelsAlone) {
  TrainableGraph model(graph_);
  graph::Graph annotated = quantized(graph_, config("w4a16"));
  QuantizedTraining qat(model, annotated, {.correct_after = 0.5});
  EXPECT_EQ(qat.norm_mode(0.4), NormMode::kTraining);
  EXPECT_EQ(qat.norm_mode(0.5), NormMode::kEvaluation);
  const std::string last = "model.3.cv3.0.2";  // without a batch norm
  ASSERT_TRUE(qat.parameters().contains(last + ".correction"));
  const TensorMap before = exec::to_host(model.parameters());
  const TensorMap steps = exec::to_host(qat.parameters());
  train(model, qat, 3, 6, 6);
  for (const auto& [name, value] : exec::to_host(model.parameters())) {
    if (name.find("one2one") != std::string::npos) continue;  // float
    const bool corrects = name.ends_with(".bias") || model.is_norm(name);
    EXPECT_EQ(equal(value, before.at(name)), !corrects) << name;
  }
  for (const auto& [name, value] : exec::to_host(qat.parameters())) {
    EXPECT_EQ(equal(value, steps.at(name)), !name.ends_with(".correction")) << name;
  }
  qat.store(annotated);
  EXPECT_LT(distance(scores(annotated), scores(model)), 1e-4);
}

TEST_F(QuantizedTrainingTest, FrozenWeightsKeepTheirCodes) {
  TrainableGraph model(graph_);
  QuantizedTraining qat(model, quantized(graph_, config("w4a16")),
                        {.freezing = true,
                         .freeze_threshold = 0.02,
                         .final_freeze_threshold = 0.02,
                         .oscillation_momentum = 0.5});
  qat.begin_epoch(0);
  train(model, qat, 0, 12, 24, 2e-2);
  const NamedTensors state = qat.state();
  const at::Tensor frozen = state.at("model.1.cv1.conv.frozen").clone();
  const at::Tensor codes = state.at("model.1.cv1.conv.code").clone();
  ASSERT_GT(frozen.sum().item<int64_t>(), 0);
  train(model, qat, 12, 18, 24, 2e-2);
  const at::Tensor changed = state.at("model.1.cv1.conv.code").ne(codes);
  EXPECT_GT(changed.sum().item<int64_t>(), 0);
  EXPECT_EQ(changed.logical_and(frozen).sum().item<int64_t>(), 0);
  for (const LayerStatistics& s : qat.statistics()) {
    if (s.conv == "model.1.cv1.conv") {
      EXPECT_GT(s.frozen, 0);
    }
  }
}

TEST_F(QuantizedTrainingTest, StatisticsSayHowQuantizersFare) {
  TrainableGraph model(graph_);
  QuantizedTraining qat(model, quantized(graph_, config("w4a8")));
  qat.begin_epoch(0);
  train(model, qat, 0, 3, 3);
  for (const LayerStatistics& s : qat.statistics()) {
    EXPECT_EQ(s.steps, 3);
    EXPECT_EQ(s.weight_bits, 4);
    EXPECT_EQ(s.input_bits, 8);
    EXPECT_GT(s.weight_gradient, 0) << s.conv;
    EXPECT_GT(s.step_gradient, 0) << s.conv;
    EXPECT_GT(s.step_drift, 0) << s.conv;
    EXPECT_LT(s.step_drift, 0.1) << s.conv;
    EXPECT_EQ(s.frozen, 0);
    EXPECT_EQ(s.dead_channels, 0) << s.conv;
  }
  // A layer that collapses: steps far too large.
  qat.begin_epoch(0.5);
  qat.parameters().at("model.0.conv.weight_log_step").detach().add_(std::log(64.0));
  qat.parameters().at("model.0.conv.input_log_step").detach().sub_(std::log(4.0));
  model.forward(images(), NormMode::kTraining).one2many.classes.sum().backward();
  const LayerStatistics s = qat.statistics()[0];
  EXPECT_EQ(s.conv, "model.0.conv");
  EXPECT_EQ(s.steps, 0);
  EXPECT_NEAR(s.dead_codes, 15.0 / 16, 1e-9);
  EXPECT_EQ(s.dead_channels, 1);
  EXPECT_EQ(s.saturated, 0);
  EXPECT_NEAR(s.step_drift, 6, 0.1);
  EXPECT_NEAR(s.clipped_inputs, 0.75, 0.05);  // of uniform values
  EXPECT_NEAR(s.input_step_drift, 2, 0.1);
}

TEST_F(QuantizedTrainingTest, StepsStartAsAskedFor) {
  TrainableGraph model(graph_);
  const QuantizedTraining qat(model, quantized(graph_, config("w4a16")),
                              {.weight_steps = StepStart::kLsq});
  const at::Tensor weight = model.parameters().at("model.0.conv.weight");
  const at::Tensor expected = weight.abs().flatten(1).mean(1).mul(2 / std::sqrt(7.0));
  EXPECT_TRUE(qat.parameters().at("model.0.conv.weight_log_step").exp().allclose(expected, 1e-5));
}

TEST(QatOptions, BitsFallInTheFirstHalf) {
  const std::vector<BitStage> stages = scratch_stages();
  ASSERT_EQ(stages.size(), 3U);
  EXPECT_EQ(stages[0].bits, 8);
  EXPECT_EQ(stages[1].bits, 6);
  EXPECT_EQ(stages[1].progress, 0.25);
  EXPECT_EQ(stages[2].progress, 0.5);
  EXPECT_LE(stages[2].bits, 3);  // below what any layer has
  EXPECT_TRUE(progressive_stages({}).empty());
  EXPECT_THROW(check({.stages = progressive_stages({12})}), Error);
}

TEST_F(QuantizedTrainingTest, RefusesWhatDoesNotFit) {
  TrainableGraph model(graph_);
  graph::Graph other = quantized(graph_, config("w4a16"));
  other.nodes[0].name = "model.7.conv";
  EXPECT_THROW(QuantizedTraining(model, other), Error);
  const graph::Graph floats =
      graph::for_inference(graph_, graph::Head::kOneToMany, graph::Branches::kKeep);
  EXPECT_THROW(QuantizedTraining(model, floats), Error);
  const graph::Graph good = quantized(graph_, config("w4a16"));
  EXPECT_THROW(QuantizedTraining(model, good, {.freeze_threshold = 2}), Error);
  EXPECT_THROW(QuantizedTraining(model, good, {.stages = {{.progress = 0, .bits = 12}}}), Error);
}

TEST(Distillation, IsNothingBetweenEqualModelsAndHasGradients) {
  TrainableGraph model(tiny_training_graph());
  const Logits logits = model.forward(images(), NormMode::kEvaluation);
  EXPECT_NEAR(distillation_loss(logits, logits, 64 * 64).item<double>(), 0, 1e-3);
  const Logits other = model.forward(images(3), NormMode::kEvaluation);
  const at::Tensor both = distillation_loss(other, logits, 64 * 64);
  EXPECT_GT(both.item<double>(), 1e-3);
  const at::Tensor one = distillation_loss(other, logits, 64 * 64, {.one2one = 0});
  const at::Tensor two = distillation_loss(other, logits, 64 * 64, {.one2many = 0});
  EXPECT_NEAR(both.item<double>(), one.add(two).item<double>(), 1e-3 * both.item<double>());
  two.backward();
  EXPECT_FALSE(model.parameters().at("model.0.conv.weight").grad().defined());
  EXPECT_TRUE(model.parameters().at("model.3.one2one_cv3.0.2.weight").grad().defined());
}

}  // namespace
}  // namespace yoloquant::train
