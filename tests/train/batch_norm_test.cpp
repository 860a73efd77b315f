#include "train/batch_norm.h"

#include <ATen/ops/batch_norm.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "train/tensors.h"

namespace yoloquant::train {
namespace {

struct Result {
  at::Tensor output;
  std::vector<at::Tensor> gradients;  // of x, weight, bias
  at::Tensor mean, variance;          // running, afterwards
};

struct Inputs {
  at::Tensor x, gradient, weight, bias, mean, variance;
};

Inputs make_inputs(const Shape& shape) {
  const int64_t channels = shape[1];
  // Means far from 0 and spreads from .01 to 3 by channel.
  const at::Tensor spread = at::linspace(0.01, 3, channels).view({1, channels, 1, 1});
  const at::Tensor x = uniform("x", shape, -1, 1).add(2).mul(spread).add(5);
  return {.x = x,
          .gradient = uniform("gradient", shape, -1, 1),
          .weight = uniform("weight", {channels}, -2, 2),
          .bias = uniform("bias", {channels}, -1, 1),
          .mean = uniform("mean", {channels}, 5, 11),
          .variance = uniform("variance", {channels}, 0.5, 2)};
}

constexpr graph::BatchNorm kNorm;

template <typename Function>
Result differentiate(const Inputs& inputs, at::ScalarType type, const Function& function) {
  const auto leaf = [&](const at::Tensor& value) {
    return value.to(type, false, /*copy=*/true).requires_grad_(true);
  };
  const at::Tensor x = leaf(inputs.x);
  const at::Tensor weight = leaf(inputs.weight);
  const at::Tensor bias = leaf(inputs.bias);
  const at::Tensor mean = inputs.mean.to(type, false, true);
  const at::Tensor variance = inputs.variance.to(type, false, true);
  const at::Tensor y = function(x, weight, bias, mean, variance);
  y.mul(inputs.gradient).sum().backward();
  return {y.detach(), {x.grad(), weight.grad(), bias.grad()}, mean, variance};
}

Result own(const Inputs& inputs, NormMode mode, NormActivation activation) {
  return differentiate(
      inputs, at::kFloat,
      [&](const auto& x, const auto& weight, const auto& bias, const auto& mean, const auto& var) {
        return batch_norm(
            x, kNorm,
            {.weight = weight, .bias = bias, .running_mean = mean, .running_var = var, .value = {}},
            mode, activation);
      });
}

// LibTorch's in float64.
Result reference(const Inputs& inputs, NormMode mode, NormActivation activation) {
  return differentiate(
      inputs, at::kDouble,
      [&](const auto& x, const auto& weight, const auto& bias, const auto& mean, const auto& var) {
        const at::Tensor y = at::batch_norm(x, weight, bias, mean, var, mode == NormMode::kTraining,
                                            kNorm.momentum, kNorm.eps, false);
        return activation == NormActivation::kSilu ? at::silu(y) : y;
      });
}

// As a share of the greatest value.
double difference(const at::Tensor& a, const at::Tensor& b) {
  return a.sub(b).abs().max().item<double>() / b.abs().max().item<double>();
}

using Case = std::tuple<NormMode, NormActivation, Shape>;

class BatchNormTest : public testing::TestWithParam<Case> {};

TEST_P(BatchNormTest, IsThatOfLibTorchInDoublePrecision) {
  const auto& [mode, activation, shape] = GetParam();
  const Inputs inputs = make_inputs(shape);
  const Result result = own(inputs, mode, activation);
  const Result expected = reference(inputs, mode, activation);
  EXPECT_LT(difference(result.output, expected.output), 2e-5);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_LT(difference(result.gradients[i], expected.gradients[i]), 1e-4) << i;
  }
  EXPECT_LT(difference(result.mean, expected.mean), 1e-6);
  EXPECT_LT(difference(result.variance, expected.variance), 1e-6);
}

// Lines of several pixels with a rest, one channel, more values than a block has, odd numbers.
INSTANTIATE_TEST_SUITE_P(
    Shapes, BatchNormTest,
    testing::Combine(testing::Values(NormMode::kTraining, NormMode::kEvaluation),
                     testing::Values(NormActivation::kNone, NormActivation::kSilu),
                     testing::Values(Shape{2, 16, 80, 81}, Shape{3, 24, 7, 5}, Shape{1, 1, 3, 3},
                                     Shape{2, 200, 13, 11}, Shape{2, 5, 1, 1})));

TEST(BatchNorm, TakesAnyLayout) {
  const Inputs inputs = make_inputs({2, 16, 12, 10});
  Inputs last = inputs;
  last.x = inputs.x.contiguous(at::MemoryFormat::ChannelsLast);
  const Result a = own(inputs, NormMode::kTraining, NormActivation::kSilu);
  const Result b = own(last, NormMode::kTraining, NormActivation::kSilu);
  EXPECT_TRUE(a.output.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(a.output.equal(b.output));
  EXPECT_TRUE(a.gradients[0].equal(b.gradients[0]));
}

TEST(BatchNorm, LargeValuesSaturateAndNotANumberStays) {
  Inputs inputs = make_inputs({1, 1, 2, 2});
  inputs.mean.zero_();
  inputs.variance.fill_(1 - kNorm.eps);
  inputs.weight.fill_(1);
  inputs.bias.zero_();
  inputs.x = at::full({1, 1, 2, 2}, 0.0);
  inputs.x[0][0][0][0] = 1e6;
  inputs.x[0][0][0][1] = -1e6;
  inputs.x[0][0][1][0] = NAN;
  const at::Tensor y = own(inputs, NormMode::kEvaluation, NormActivation::kSilu).output.flatten();
  EXPECT_FLOAT_EQ(y[0].item<float>(), 1e6F);
  EXPECT_NEAR(y[1].item<float>(), 0, 1e-30);
  EXPECT_TRUE(std::isnan(y[2].item<float>()));
  EXPECT_FLOAT_EQ(y[3].item<float>(), 0);
}

TEST(BatchNorm, NeedsTwoValuesOfAChannel) {
  EXPECT_THROW(own(make_inputs({1, 4, 1, 1}), NormMode::kTraining, NormActivation::kNone), Error);
}

}  // namespace
}  // namespace yoloquant::train
