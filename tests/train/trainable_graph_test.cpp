#include "train/trainable_graph.h"

#include <gtest/gtest.h>

#include "exec/executor.h"
#include "graph/passes.h"
#include "support/npy.h"
#include "train/tensors.h"

namespace yoloquant::train {
namespace {

at::Tensor images() { return uniform("images", {2, 3, 64, 64}, 0, 1); }

at::Tensor sum_of(const HeadLogits& head) { return head.boxes.sum().add(head.classes.sum()); }

TEST(TrainableGraph, GivesTheLogitsOfTheExecutor) {
  const graph::Graph graph = tiny_training_graph();
  const Logits logits = TrainableGraph(graph).forward(images(), NormMode::kEvaluation);
  const std::vector<Tensor> outputs =
      exec::Executor(graph, {.device = "cpu"}).run({exec::to_host(images())});
  const auto scores = [](const Tensor& raw) { return exec::view_of(raw).slice(1, 4); };
  EXPECT_TRUE(logits.one2many.classes.sigmoid().allclose(scores(outputs[0]), 1e-4, 1e-6));
  EXPECT_TRUE(logits.one2one.classes.sigmoid().allclose(scores(outputs[1]), 1e-4, 1e-6));
  EXPECT_EQ(logits.one2many.boxes.sizes(), (at::IntArrayRef{2, 16, 4, 32 * 32 + 16 * 16}));
  EXPECT_EQ(logits.anchors.points.sizes(), (at::IntArrayRef{2, 32 * 32 + 16 * 16}));
  EXPECT_EQ(logits.anchors.strides[0].item<float>(), 2);
  EXPECT_EQ(logits.anchors.strides[32 * 32].item<float>(), 4);
}

TEST(TrainableGraph, TrainingModeMovesTheRunningStatistics) {
  const graph::Graph graph = tiny_training_graph();
  TrainableGraph model(graph);
  const exec::NamedTensors buffers = model.buffers();
  const TensorMap before = exec::to_host(buffers);
  model.forward(images(), NormMode::kEvaluation);
  for (const auto& [name, value] : exec::to_host(buffers))
    EXPECT_TRUE(equal(value, before.at(name)));

  at::Tensor input;  // of the first batch norm
  model.set_conv_hook([&](const ConvSite& site, ConvArguments arguments) {
    if (site.name == "model.0.conv") {
      exec::NodeParameters p;
      p.weight = arguments.weight;
      input = exec::apply(*graph.find_node(site.name), p, {arguments.input})[0].detach();
    }
    return arguments;
  });
  model.forward(images(), NormMode::kTraining);
  const auto moved = [&](const std::string& name, const at::Tensor& target) {
    return exec::view_of(before.at(name)).mul(0.97).add(target, 0.03);
  };
  const std::string mean = "model.0.bn.running_mean";
  const std::string variance = "model.0.bn.running_var";
  EXPECT_TRUE(buffers.at(mean).allclose(moved(mean, input.mean({0, 2, 3})), 1e-5, 1e-6));
  EXPECT_TRUE(buffers.at(variance).allclose(moved(variance, input.var({0, 2, 3})), 1e-5, 1e-6));
  EXPECT_EQ(buffers.at("model.0.bn.num_batches_tracked").item<int64_t>(), 2);
}

TEST(TrainableGraph, OneToOneHeadTrainsOnlyItself) {
  TrainableGraph model(tiny_training_graph());
  sum_of(model.forward(images(), NormMode::kTraining).one2one).backward();
  size_t own = 0;
  for (const auto& [name, parameter] : model.parameters()) {
    const bool of_head = name.find(".one2one_") != std::string::npos;
    EXPECT_EQ(parameter.grad().defined(), of_head) << name;
    own += of_head ? 1 : 0;
  }
  EXPECT_GT(own, 0);
}

TEST(TrainableGraph, ParametersAreThoseOfTheStateDict) {
  graph::Graph graph = tiny_training_graph();
  TrainableGraph model(graph);
  TensorMap expected = model::state_dict(graph);
  std::erase_if(expected, [](const auto& p) { return p.first.ends_with("dfl.conv.weight"); });
  const TensorMap actual = exec::to_host(model.state());
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, value] : expected) EXPECT_TRUE(equal(actual.at(name), value)) << name;
}

TEST(TrainableGraph, StoresAndLoads) {
  const graph::Graph start = tiny_training_graph();
  TrainableGraph model(start);
  for (const auto& [name, parameter] : model.parameters()) parameter.detach().mul_(1.5);
  model.forward(images(), NormMode::kTraining);
  graph::Graph stored = start;
  model.store(stored);
  TrainableGraph other(start);
  other.load(stored);
  const auto logits = [](TrainableGraph& m) {
    return values_of(m.forward(images(), NormMode::kEvaluation).one2many.classes);
  };
  EXPECT_EQ(logits(other), logits(model));
  EXPECT_NE(logits(other), logits(*std::make_unique<TrainableGraph>(start)));
  stored.parameters.erase("model.0.conv.weight");
  EXPECT_THROW(other.load(stored), Error);
}

TEST(TrainableGraph, ConvHookSeesTheBatchNormAndReplacesTheWeight) {
  const graph::Graph graph = tiny_training_graph();
  TrainableGraph model(graph);
  const std::vector<float> plain =
      values_of(model.forward(images(), NormMode::kEvaluation).one2many.classes);
  std::map<std::string, bool> seen;
  model.set_conv_hook([&](const ConvSite& site, ConvArguments arguments) {
    seen[site.name] = site.norm != nullptr;
    EXPECT_EQ(site.norm_parameters != nullptr, site.norm != nullptr);
    arguments.weight = arguments.weight.mul(2);
    return arguments;
  });
  const std::vector<float> doubled =
      values_of(model.forward(images(), NormMode::kEvaluation).one2many.classes);
  EXPECT_NE(plain, doubled);
  EXPECT_TRUE(seen.at("model.0.conv"));
  EXPECT_FALSE(seen.at("model.3.cv3.0.2"));
  EXPECT_EQ(seen.count("model.3.dfl.conv"), 0U);
}

TEST(TrainableGraph, NeedsBothHeads) {
  const graph::Graph graph = tiny_training_graph();
  try {
    TrainableGraph model(graph::keep_head(graph, graph::Head::kOneToMany));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kUsage);
  }
}

}  // namespace
}  // namespace yoloquant::train
