#include "train/sync_norm.h"

#include <ATen/ops/batch_norm.h>
#include <gtest/gtest.h>

#include "train/ranks.h"
#include "train/tensors.h"

namespace yoloquant::train {
namespace {

constexpr int64_t kChannels = 3;

struct Norm {
  exec::NodeParameters parameters;
  graph::BatchNorm norm{.eps = 1e-3, .momentum = 0.03};

  Norm() {
    parameters.weight = uniform("weight", {kChannels}, .5, 1.5).requires_grad_(true);
    parameters.bias = uniform("bias", {kChannels}, -1, 1).requires_grad_(true);
    parameters.running_mean = uniform("mean", {kChannels}, -1, 1);
    parameters.running_var = uniform("var", {kChannels}, .5, 2);
  }
};

void expect_near(const at::Tensor& actual, const at::Tensor& expected, const char* what) {
  EXPECT_TRUE(actual.allclose(expected, 1e-5, 1e-6))
      << what << ": " << actual.sub(expected).abs().max().item<float>();
}

TEST(SynchronizedNorm, IsTheNormOfTheWholeBatch) {
  in_ranks(2, [](ProcessGroup& group) {
    // Means far from zero and different on the ranks, which sums of squares would not survive.
    const at::Tensor all = uniform("input", {5, kChannels, 4, 6}, -1, 1)
                               .add(floats({5, 1, 1, 1}, {10, 10, 10, 11, 11}));
    const at::Tensor arriving = uniform("gradient", {5, kChannels, 4, 6}, -1, 1);
    const int64_t begin = group.rank() == 0 ? 0 : 3;
    const int64_t end = group.rank() == 0 ? 3 : 5;

    const Norm whole;
    const at::Tensor whole_input = all.to(at::kDouble).requires_grad_(true);
    const auto precise = [](const at::Tensor& t) { return t.to(at::kDouble); };
    const at::Tensor mean = precise(whole.parameters.running_mean);
    const at::Tensor variance = precise(whole.parameters.running_var);
    const at::Tensor expected = at::batch_norm(
        whole_input, precise(whole.parameters.weight), precise(whole.parameters.bias), mean,
        variance, /*training=*/true, whole.norm.momentum, whole.norm.eps, false);
    expected.backward(precise(arriving));

    const Norm own;
    const at::Tensor input = all.slice(0, begin, end).clone().requires_grad_(true);
    const at::Tensor output = synchronized_norm(group)(input, own.norm, own.parameters);
    output.backward(arriving.slice(0, begin, end));

    const auto own_part = [&](const at::Tensor& t) {
      return t.slice(0, begin, end).to(at::kFloat);
    };
    expect_near(output, own_part(expected), "output");
    expect_near(input.grad(), own_part(whole_input.grad()), "input");
    expect_near(group.sum(own.parameters.bias.grad()), whole.parameters.bias.grad(), "bias");
    expect_near(group.sum(own.parameters.weight.grad()), whole.parameters.weight.grad(), "weight");
    expect_near(own.parameters.running_mean, mean.to(at::kFloat), "running mean");
    expect_near(own.parameters.running_var, variance.to(at::kFloat), "running variance");
  });
}

TEST(SynchronizedNorm, OfOneRankIsTheBatchNorm) {
  ProcessGroup group;
  const at::Tensor input = uniform("input", {2, kChannels, 4, 4}, -1, 1);
  const Norm norm;
  const at::Tensor output = synchronized_norm(group)(input, norm.norm, norm.parameters);
  expect_near(output,
              at::batch_norm(input, norm.parameters.weight, norm.parameters.bias, {}, {}, true, 0,
                             norm.norm.eps, false),
              "output");
  EXPECT_THROW(synchronized_norm(group)(input.slice(0, 0, 1).slice(2, 0, 1).slice(3, 0, 1),
                                        norm.norm, norm.parameters),
               Error);
}

}  // namespace
}  // namespace yoloquant::train
