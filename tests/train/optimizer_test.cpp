#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "train/tensors.h"

namespace yoloquant::train {
namespace {

// Three groups of one tensor each; the second has weight decay.
std::vector<ParameterGroup> three_groups() {
  std::vector<ParameterGroup> groups;
  for (int k = 0; k < 3; ++k) {
    std::vector<float> values;
    for (int i = 0; i < 4; ++i) values.push_back(static_cast<float>(std::cos(3 * k + i)));
    const std::string name = fmt::format("p{}", k);
    groups.push_back({name, {{name, floats({4}, values).requires_grad_(true)}}, k == 1 ? 0.05 : 0});
  }
  return groups;
}

void take_step(Optimizer& optimizer, int t) {
  std::vector<double> rates;
  for (int k = 0; k < 3; ++k) {
    rates.push_back(0.1 / (1 + t + k));
    std::vector<float> gradient;
    for (int i = 0; i < 4; ++i) {
      gradient.push_back(static_cast<float>(std::sin(1 + i + 3 * t + 5 * k)));
    }
    at::Tensor parameter = optimizer.groups()[static_cast<size_t>(k)].parameters.begin()->second;
    parameter.mutable_grad() = floats({4}, gradient);
  }
  optimizer.step(rates, 0.8 + 0.03 * t);
}

using Figures = std::vector<std::vector<float>>;

Figures figures(const Optimizer& optimizer) {
  Figures result;
  for (const ParameterGroup& group : optimizer.groups()) {
    result.push_back(values_of(group.parameters.begin()->second));
  }
  return result;
}

void expect_near(const Figures& actual, const Figures& expected) {
  for (size_t k = 0; k < expected.size(); ++k) {
    for (size_t i = 0; i < expected[k].size(); ++i) {
      EXPECT_NEAR(actual[k][i], expected[k][i], 2e-7) << k << ", " << i;
    }
  }
}

// Made with torch 2.13, K being SGD (nesterov=True) or AdamW:
//   p = [torch.tensor([math.cos(3*k+i) for i in range(4)], requires_grad=True) for k in range(3)]
//   o = K([{"params": [p[0]], "weight_decay": 0.}, {"params": [p[1]], "weight_decay": .05},
//          {"params": [p[2]], "weight_decay": 0.}], lr=.1, momentum=.9)
//   for t in range(4):
//     for k, g in enumerate(o.param_groups):
//       g["lr"] = .1/(1+t+k); g["momentum"] = .8+.03*t; g["betas"] = (.8+.03*t, .999)
//       p[k].grad = torch.tensor([math.sin(1+i+3*t+5*k) for i in range(4)])
//     o.step()
TEST(Optimizer, SgdStepsAsTorchDoes) {
  Optimizer optimizer(OptimizerKind::kSgd, three_groups());
  for (int t = 0; t < 4; ++t) take_step(optimizer, t);
  expect_near(figures(optimizer), {{0.86319357F, 0.40787923F, -0.4224374F, -0.86436707F},
                                   {-0.96426874F, -0.69867754F, 0.20927455F, 0.92482054F},
                                   {1.0075706F, 0.77172542F, -0.17364062F, -0.95936227F}});
}

TEST(Optimizer, AdamWStepsAsTorchDoes) {
  Optimizer optimizer(OptimizerKind::kAdamW, three_groups());
  for (int t = 0; t < 4; ++t) take_step(optimizer, t);
  expect_near(figures(optimizer), {{0.88259959F, 0.42978626F, -0.50530833F, -0.87100512F},
                                   {-0.93464833F, -0.71494514F, 0.22270051F, 0.90196937F},
                                   {1.0015206F, 0.79069769F, -0.19611491F, -0.95297855F}});
}

TEST(Optimizer, GoesOnBitForBitFromItsState) {
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdamW}) {
    Optimizer first(kind, three_groups());
    for (int t = 0; t < 2; ++t) take_step(first, t);
    const TensorMap state = exec::to_host(first.state());
    Optimizer second(kind, three_groups());
    for (size_t k = 0; k < 3; ++k) {
      exec::copy_into(second.groups()[k].parameters, exec::to_host(first.groups()[k].parameters),
                      "parameters");
    }
    exec::copy_into(second.state(), state, "optimizer");
    take_step(first, 2);
    take_step(second, 2);
    EXPECT_EQ(figures(first), figures(second));
  }
}

TEST(Optimizer, GradientsInAnotherLayoutAndMissingOnes) {
  const at::Tensor weight = floats({1, 2, 2, 2}, std::vector<float>(8, 0))
                                .contiguous(at::MemoryFormat::ChannelsLast)
                                .requires_grad_(true);
  const at::Tensor untouched = floats({1}, {3}).requires_grad_(true);
  Optimizer optimizer(OptimizerKind::kSgd, {{"all", {{"a", weight}, {"b", untouched}}, 0.5}});
  weight.mutable_grad() = floats({1, 2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  optimizer.step(std::vector<double>{1}, 0);
  EXPECT_EQ(values_of(weight), (std::vector<float>{-1, -2, -3, -4, -5, -6, -7, -8}));
  EXPECT_EQ(values_of(untouched)[0], 3);
  optimizer.clear_gradients();
  EXPECT_FALSE(weight.grad().defined());
  EXPECT_THROW(optimizer.step(std::vector<double>{1, 2}, 0), Error);
}

TEST(Optimizer, ClipsTheJointNorm) {
  std::vector<ParameterGroup> groups = three_groups();
  Optimizer optimizer(OptimizerKind::kSgd, groups);
  EXPECT_EQ(optimizer.clip_gradients(10).item<double>(), 0);
  groups[0].parameters.at("p0").mutable_grad() = floats({4}, {3, 0, 4, 0});
  groups[2].parameters.at("p2").mutable_grad() = floats({4}, {0, 12, 0, 0});
  const auto gradient = [&](size_t k) {
    return values_of(groups[k].parameters.begin()->second.grad());
  };
  EXPECT_FLOAT_EQ(optimizer.clip_gradients(20).item<float>(), 13);
  EXPECT_EQ(gradient(0)[2], 4);
  EXPECT_FLOAT_EQ(optimizer.clip_gradients(6.5).item<float>(), 13);
  EXPECT_FLOAT_EQ(gradient(0)[2], 2);
  EXPECT_FLOAT_EQ(gradient(2)[1], 6);
}

TEST(ParameterGroups, AreBiasesWeightsAndNorms) {
  const graph::Graph graph = tiny_training_graph();
  const TrainableGraph model(graph);
  const std::vector<ParameterGroup> groups = parameter_groups(model, 5e-4);
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_TRUE(groups[0].parameters.contains("model.0.bn.bias"));
  EXPECT_TRUE(groups[0].parameters.contains("model.3.cv3.0.2.bias"));
  EXPECT_TRUE(groups[1].parameters.contains("model.0.conv.weight"));
  EXPECT_TRUE(groups[2].parameters.contains("model.0.bn.weight"));
  EXPECT_EQ(groups[1].weight_decay, 5e-4);
  EXPECT_EQ(groups[0].weight_decay + groups[2].weight_decay, 0);
  size_t count = 0;
  for (const ParameterGroup& group : groups) count += group.parameters.size();
  EXPECT_EQ(count, model.parameters().size());
}

}  // namespace
}  // namespace yoloquant::train
