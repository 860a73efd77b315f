#include "train/norm_estimation.h"

#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "train/tensors.h"

namespace yoloquant::train {
namespace {

at::Tensor batch(int64_t index) {
  return uniform("images" + std::to_string(index), {2, 3, 64, 64}, 0, 1.0 + 0.3 * index);
}

TEST(NormEstimation, GivesTheMeansOfTheBatchesStatistics) {
  const graph::Graph graph = tiny_training_graph();
  TrainableGraph model(graph);
  const std::string conv = "model.1.cv1.conv";  // behind another batch norm
  std::vector<at::Tensor> means;
  std::vector<at::Tensor> variances;
  model.set_conv_hook([&](const ConvSite& site, ConvArguments arguments) {
    arguments.weight = arguments.weight.mul(1.25);  // whatever quantization does
    if (site.name == conv) {
      exec::NodeParameters p;
      p.weight = arguments.weight;
      const at::Tensor y = exec::apply(*graph.find_node(conv), p, {arguments.input})[0].detach();
      means.push_back(y.mean({0, 2, 3}));
      variances.push_back(y.var({0, 2, 3}));
    }
    return arguments;
  });
  const int64_t batches_before =
      model.buffers().at("model.1.cv1.bn.num_batches_tracked").item<int64_t>();
  // However far off the start is.
  for (const auto& [name, buffer] : model.buffers()) {
    if (buffer.is_floating_point()) buffer.mul_(1e4);
  }
  estimate_norms(model, 3, batch);
  ASSERT_EQ(means.size(), 3U);
  const auto& buffers = model.buffers();
  EXPECT_TRUE(
      buffers.at("model.1.cv1.bn.running_mean").allclose(at::stack(means).mean(0), 1e-4, 1e-5));
  EXPECT_TRUE(
      buffers.at("model.1.cv1.bn.running_var").allclose(at::stack(variances).mean(0), 1e-4, 1e-6));
  EXPECT_EQ(buffers.at("model.1.cv1.bn.num_batches_tracked").item<int64_t>(), batches_before);
}

TEST(NormEstimation, OnePassIsAllThereIs) {
  TrainableGraph model(tiny_training_graph());
  estimate_norms(model, 2, batch);
  const TensorMap first = exec::to_host(model.buffers());
  estimate_norms(model, 2, batch);
  for (const auto& [name, value] : exec::to_host(model.buffers())) {
    EXPECT_TRUE(equal(value, first.at(name))) << name;
  }
  EXPECT_THROW(estimate_norms(model, 0, batch), Error);
}

TEST(NormEstimation, KeptNormsComeBack) {
  TrainableGraph model(tiny_training_graph());
  const TensorMap before = exec::to_host(model.buffers());
  {
    const KeptNorms kept(model);
    model.forward(batch(0), NormMode::kTraining);
  }
  for (const auto& [name, value] : exec::to_host(model.buffers())) {
    EXPECT_TRUE(equal(value, before.at(name))) << name;
  }
}

}  // namespace
}  // namespace yoloquant::train
