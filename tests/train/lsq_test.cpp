#include "train/lsq.h"

#include <ATen/Parallel.h>
#include <ATen/ops/log.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quant/weight_scale.h"
#include "train/lsq_kernels.h"
#include "train/tensors.h"

namespace yoloquant::train {
namespace {

at::Tensor log_of(const std::vector<float>& steps) {
  return at::log(floats({static_cast<int64_t>(steps.size())}, steps)).requires_grad_(true);
}

TEST(LearnedSteps, QuantizeAsTheGraphsQuantizersDo) {
  const at::Tensor weight = uniform("w", {3, 2, 3, 3}, -1, 1);
  const std::vector<float> steps = {0.11F, 0.05F, 0.3F};
  const at::Tensor log_step = log_of(steps);
  const graph::Quantizer q{.bits = 4,
                           .qmin = -8,
                           .qmax = 7,
                           .axis = 0,
                           .scale = values_of(log_step.detach().exp()),
                           .zero_point = {0, 0, 0}};
  const Tensor expected = graph::dequantize(graph::quantize(exec::to_host(weight), q), q);
  EXPECT_EQ(values_of(quantize_weight(weight, log_step, {}, {-8, 7})),
            values_of(exec::view_of(expected)));

  const at::Tensor x = uniform("x", {2, 3, 5, 5}, -1, 6);
  const at::Tensor log_scale = log_of({0.02F});
  const graph::Quantizer a{.bits = 8,
                           .qmin = 0,
                           .qmax = 255,
                           .axis = -1,
                           .scale = values_of(log_scale.detach().exp()),
                           .zero_point = {14}};
  const Tensor wanted = graph::dequantize(graph::quantize(exec::to_host(x), a), a);
  EXPECT_EQ(values_of(quantize_activation(x, log_scale, floats({1}, {14}), {0, 255})),
            values_of(exec::view_of(wanted)));
}

TEST(LearnedSteps, AMirroredChannelHasTheCodesOfTheNegatedWeight) {
  const at::Tensor weight = uniform("w", {1, 1, 4, 4}, -2, 2);
  const at::Tensor log_step = log_of({0.2F});
  const at::Tensor mirrored = quantize_weight(weight, log_step, floats({1}, {-1}), {-8, 7});
  EXPECT_EQ(values_of(mirrored.neg()),
            values_of(quantize_weight(weight.neg(), log_step, {}, {-8, 7})));
  EXPECT_GT(mirrored.max().item<float>(), 1.59F);  // 8 steps
}

// Worked out by hand: s = .5, codes -2..1, x / s = -3, -1.4, .2, .6, 4.
TEST(LearnedSteps, GradientsAreThoseOfThePaper) {
  const at::Tensor x = floats({1, 5}, {-1.5F, -0.7F, 0.1F, 0.3F, 2.0F}).requires_grad_(true);
  const at::Tensor log_step = log_of({0.5F});
  const at::Tensor q = quantize_weight(x, log_step, {}, {-2, 1});
  EXPECT_EQ(values_of(q), (std::vector<float>{-1, -0.5, 0, 0.5, 0.5}));
  q.mul(floats({1, 5}, {1, 2, 3, 4, 5})).sum().backward();
  EXPECT_EQ(values_of(x.grad()), (std::vector<float>{0, 2, 3, 4, 0}));
  // dq/ds = -2, -1 + 1.4, 0 - .2, 1 - .6, 1
  const double of_s = 1 * -2 + 2 * 0.4 + 3 * -0.2 + 4 * 0.4 + 5 * 1;
  EXPECT_NEAR(log_step.grad().item<double>(), of_s / (0.5 * std::sqrt(5.0 * 1)), 1e-5);
}

TEST(LearnedSteps, FarBelowTheWeightsTheGradientFallsWithTheStep) {
  const at::Tensor x = floats({1, 4}, {-4, 4, 2, -2});  // s0 = 3 / 4
  const auto gradient = [&](float step) {
    const at::Tensor log_step = log_of({step});
    quantize_weight(x, log_step, {}, {-2, 1}).mul(floats({1, 4}, {1, 2, 3, 4})).sum().backward();
    return log_step.grad().item<double>();
  };
  // All weights are outside: dL/ds = -2 + 2 + 3 - 8.
  EXPECT_NEAR(gradient(0.8F), -5 / (0.8 * 2), 1e-5);
  EXPECT_NEAR(gradient(0.01F), -5 * 0.01 / (0.75 * 0.75 * 2), 1e-6);
  EXPECT_NEAR(gradient(1e-30F), 0, 1e-6);
}

TEST(LearnedSteps, OutsideTheRangeGradientsAreFiniteDifferences) {
  const at::Tensor x = floats({1, 4}, {-9, -7, 8, 30});
  const at::Tensor weights = floats({1, 4}, {0.3F, -2, 1, 0.7F});
  const at::Tensor zero = floats({1}, {5}).requires_grad_(true);
  const auto sum = [&](double step, double z) {
    return quantize_activation(x, log_of({static_cast<float>(step)}),
                               floats({1}, {static_cast<float>(z)}), {0, 15})
        .mul(weights)
        .sum();
  };
  const at::Tensor log_step = log_of({0.25F});
  quantize_activation(x, log_step, zero, {0, 15}).mul(weights).sum().backward();
  const double scale = 1 / (0.25 * std::sqrt(4.0 * 15));
  const double by_step = (sum(0.26, 5).item<double>() - sum(0.24, 5).item<double>()) / 0.02;
  EXPECT_NEAR(log_step.grad().item<double>(), by_step * scale, 1e-4);
  const double by_zero = (sum(0.25, 6).item<double>() - sum(0.25, 4).item<double>()) / 2;
  EXPECT_NEAR(zero.grad().item<double>(), by_zero * scale / 0.25, 1e-4);
}

TEST(LearnedSteps, ChannelsHaveTheirOwn) {
  const at::Tensor weight = uniform("w", {3, 2, 3, 3}, -1, 1).requires_grad_(true);
  const at::Tensor log_step = log_of({0.1F, 0.2F, 0.05F});
  const at::Tensor sign = floats({3}, {1, -1, 1});
  quantize_weight(weight, log_step, sign, {-4, 3}).square().sum().backward();
  for (int64_t channel = 0; channel < 3; ++channel) {
    const at::Tensor own = weight.detach().slice(0, channel, channel + 1).clone();
    const at::Tensor own_step = log_step.detach().slice(0, channel, channel + 1).clone();
    own_step.requires_grad_(true);
    own.requires_grad_(true);
    quantize_weight(own, own_step, sign.slice(0, channel, channel + 1), {-4, 3})
        .square()
        .sum()
        .backward();
    EXPECT_NEAR(log_step.grad()[channel].item<float>(), own_step.grad().item<float>(), 1e-4);
    EXPECT_EQ(values_of(weight.grad()[channel]), values_of(own.grad()[0]));
  }
}

TEST(LearnedSteps, DescentFindsTheStepOfLeastError) {
  // LSQ's gradient is that of the mean squared error where values are spread evenly within a step.
  const at::Tensor weight =
      uniform("w", {2, 64, 5, 5}, -1, 1).add(uniform("v", {2, 64, 5, 5}, -1, 1));
  const at::Tensor log_step = log_of({0.5F, 0.01F});  // far too large, far too small
  const auto error = [&] {
    return quantize_weight(weight, log_step, {}, {-8, 7}).sub(weight).square().flatten(1).sum(1);
  };
  for (int i = 0; i < 600; ++i) {
    log_step.mutable_grad() = at::Tensor();
    error().sum().backward();
    log_step.detach().sub_(log_step.grad().clamp(-20, 20), 2e-3);
  }
  for (int64_t channel = 0; channel < 2; ++channel) {
    const std::vector<float> row = values_of(weight[channel]);
    const float best = quant::search_scale(row, -8, 7, 2);
    EXPECT_LT(error()[channel].item<double>(), 1.05 * quant::rounding_error(row, best, -8, 7, 2));
  }
}

TEST(LearnedSteps, LayoutAndTypeDoNotMatter) {
  const at::Tensor x = uniform("x", {2, 4, 6, 6}, -1, 3);
  const at::Tensor log_step = log_of({0.03F});
  const at::Tensor zero = floats({1}, {9});
  const auto run = [&](const at::Tensor& input) {
    log_step.mutable_grad() = at::Tensor();
    const at::Tensor leaf = input.detach().requires_grad_(true);
    const at::Tensor q = quantize_activation(leaf, log_step, zero, {0, 63});
    q.square().sum().backward();
    return std::vector<at::Tensor>{q.detach(), leaf.grad(), log_step.grad().clone()};
  };
  const auto plain = run(x);
  const auto last = run(x.contiguous(at::MemoryFormat::ChannelsLast));
  const auto part = run(uniform("y", {2, 8, 6, 6}, 0, 1).slice(1, 2, 6).copy_(x));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(plain[i].allclose(last[i], 1e-5));
    EXPECT_TRUE(plain[i].allclose(part[i], 1e-5));
  }
  EXPECT_EQ(quantize_activation(x.to(at::kBFloat16), log_step, zero, {0, 63}).scalar_type(),
            at::kBFloat16);
}

TEST(LearnedSteps, CountClippedValues) {
  const at::Tensor x = floats({1, 7}, {-1, 0, 1, 2, 30, 1.54F, -0.04F}).requires_grad_(true);
  const ClipCount count = floats({2}, {0, 0}).to(at::kDouble);
  quantize_activation(x, log_of({0.1F}), floats({1}, {0}), {0, 15}, count).sum().backward();
  EXPECT_EQ(count[0].item<double>(), 3);  // -1, 2 and 30; the last two are within half a step
  EXPECT_EQ(count[1].item<double>(), 7);
}

class Kernels : public testing::Test {
 protected:
  at::Tensor x_ = uniform("x", {4, 50'000}, -3, 3);
  at::Tensor gradient_ = uniform("g", {4, 50'000}, -1, 1);
  Grid grid_{floats({4}, {0.1F, -0.3F, 0.02F, 1}), floats({1}, {-8}), floats({1}, {7})};
};

TEST_F(Kernels, AgreeWithOperators) {
  EXPECT_TRUE(quantize_rows(x_, grid_).equal(quantize_rows_by_operators(x_, grid_)));
  const GridGradients a = quantize_rows_backward(x_, gradient_, grid_);
  const GridGradients b = quantize_rows_backward_by_operators(x_, gradient_, grid_);
  EXPECT_TRUE(a.x.equal(b.x));
  EXPECT_TRUE(a.step.allclose(b.step, 1e-4, 1e-2));
  EXPECT_TRUE(a.outside.allclose(b.outside, 1e-4, 1e-2));
  EXPECT_EQ(a.clipped.item<double>(), b.clipped.item<double>());
}

TEST_F(Kernels, SumsDoNotDependOnThreads) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const GridGradients one = quantize_rows_backward(x_, gradient_, grid_);
  at::set_num_threads(3);
  const GridGradients three = quantize_rows_backward(x_, gradient_, grid_);
  at::set_num_threads(before);
  EXPECT_EQ(values_of(one.step), values_of(three.step));
}

TEST_F(Kernels, NotANumberStaysOne) {
  const at::Tensor x = floats({1, 3}, {std::nanf(""), 1, 2});
  EXPECT_TRUE(
      std::isnan(values_of(quantize_rows(x, {floats({1}, {1}), grid_.low, grid_.high}))[0]));
}

}  // namespace
}  // namespace yoloquant::train
