#include "quant/conv_fit.h"

#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "exec/convert.h"
#include "quant/conv_columns.h"
#include "quant/fisher.h"
#include "small_graph.h"

namespace yoloquant::quant {
namespace {

constexpr int64_t kSide = 16;

// Weights of a map whose left half alone counts.
at::Tensor left_half() {
  at::Tensor weights = at::zeros({kSide, kSide});
  weights.slice(1, 0, kSide / 2).fill_(1);
  return weights.flatten().to(c10::ScalarType::BFloat16);
}

TEST(ConvColumns, DrawsByWeightAsOftenAsItAsks) {
  Random random(1);
  const std::vector<float> weights{0, 1, 0, 3, 4};
  EXPECT_EQ(draw_by_weight(weights, 8, random), (std::vector<int64_t>{1, 3, 3, 3, 4, 4, 4, 4}));
  // Without any weight there are still as many.
  EXPECT_EQ(draw_by_weight(std::vector<float>{0, 0}, 3, random).size(), 3U);
}

TEST(ConvColumns, DrawsAShareOfThePositionsByWeight) {
  graph::Conv op;
  const at::Tensor input = at::zeros({1, 2, kSide, kSide});
  const at::Tensor weights = at::stack({at::ones_like(left_half()), left_half()});
  const auto count = [&](double weighted, int64_t first) {
    Random random(5);
    const PositionDraw draw{
        .per_image = 100, .weighted = weighted, .weights = weights, .first = first};
    const std::vector<Position> positions = draw_positions(op, 1, 1, input, draw, random);
    EXPECT_EQ(positions.size(), 100U);
    return std::ranges::count_if(positions, [](const Position& p) { return p.x < kSide / 2; });
  };
  EXPECT_EQ(count(1, 1), 100);
  EXPECT_NEAR(static_cast<double>(count(0.4, 1)), 40 + 30, 10);
  EXPECT_NEAR(static_cast<double>(count(1, 0)), 50, 2);  // the first image's weights
  EXPECT_NEAR(static_cast<double>(count(0, 1)), 50, 12);
}

TEST(ConvColumns, DrawsUniformlyFromAnImageWithoutWeights) {
  graph::Conv op;
  const at::Tensor input = at::zeros({1, 2, kSide, kSide});
  Random random(5);
  const PositionDraw draw{
      .per_image = 100, .weighted = 0.5, .weights = at::zeros({1, kSide * kSide})};
  std::set<std::pair<int32_t, int32_t>> places;
  for (const Position& p : draw_positions(op, 1, 1, input, draw, random)) places.insert({p.y, p.x});
  EXPECT_EQ(places.size(), 100U);
}

TEST(ConvColumns, TakesSmallMapsWholeAndMoreOfWhatCounts) {
  graph::Conv op;
  const at::Tensor input = at::zeros({1, 2, kSide, kSide});
  const at::Tensor weights = left_half().unsqueeze(0);
  Random random(5);
  const PositionDraw draw{.per_image = 10000, .weighted = 0.25, .weights = weights};
  EXPECT_EQ(draw_positions(op, 1, 1, input, draw, random).size(), 5U * kSide * kSide / 4);
}

// images [., kIn, kSide, kSide] -> conv [kOut, kIn, 1, 1]
constexpr int64_t kIn = 12;
constexpr int64_t kOut = 16;

graph::Graph one_conv() {
  graph::Graph graph;
  const graph::ValueId image = graph.add_value("images");
  graph.values[image].shape = {1, kIn, kSide, kSide};
  graph.inputs = {image};
  graph.outputs = {add_conv(graph, "conv", image, kIn, kOut, 1)};
  graph::infer_shapes(graph);
  return graph;
}

// Fits the conv to these images [N, kIn, kSide, kSide], the same for both paths.
FittedConv fit_to(const graph::Graph& graph, const at::Tensor& x, const at::Tensor& weights,
                  CodeRange range, const FitOptions& options) {
  at::Tensor channels_last = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto get = [&](size_t /*batch*/) { return channels_last; };
  const PairedInput input{graph.nodes.at(0), x.size(0), 1, get, get};
  Random random(7);
  return fit_output({input, graph.parameter("conv.weight"), weights}, range, options, random);
}

// What the fit changes in the conv's outputs at these inputs [kIn, positions], the bias left alone.
at::Tensor output_change(const graph::Graph& graph, const FittedConv& fitted, const at::Tensor& x) {
  return exec::view_of(fitted.weight)
      .sub(exec::view_of(graph.parameter("conv.weight")))
      .view({kOut, kIn})
      .matmul(x);
}

at::Tensor columns_of(const at::Tensor& x) { return x.transpose(0, 1).reshape({kIn, -1}); }

// Error of a 4-bit conv's outputs in the half of the map that counts.
double error_where_it_counts(double weighted) {
  const graph::Graph graph = one_conv();
  // In the left half channels repeat each other, so errors of their weights can make up for each
  // other there, which costs the right half.
  Tensor values = random_tensor({4, kIn, kSide, kSide}, 3, -1, 1);
  const at::Tensor x = exec::view_of(values);
  const at::Tensor left_channels = x.slice(3, 0, kSide / 2);
  for (int64_t c = 3; c < kIn; ++c)
    left_channels.select(1, c).copy_(left_channels.select(1, c % 3));
  FitOptions options;
  options.weighted = weighted;
  const FittedConv fitted = fit_to(graph, x, left_half().expand({4, -1}), {}, options);
  return output_change(graph, fitted, columns_of(x.slice(3, 0, kSide / 2)))
      .square()
      .sum()
      .item<double>();
}

TEST(ConvFit, SparesTheWeightedPositions) {
  EXPECT_LT(error_where_it_counts(0.9), 0.7 * error_where_it_counts(0));
}

// Inputs with a mean far from zero: what it does to the outputs a bias can take up, and the codes
// need not. Without a bias they must.
TEST(ConvFit, LeavesTheMeanToTheBias) {
  graph::Graph graph = one_conv();
  Tensor values = random_tensor({4, kIn, kSide, kSide}, 3, 1, 3);
  const at::Tensor x = exec::view_of(values);
  const auto errors = [&](bool has_bias) {
    std::get<graph::Conv>(graph.nodes[0].op).has_bias = has_bias;
    const FittedConv fitted = fit_to(graph, x, {}, {-2, 1}, {});
    const at::Tensor change = output_change(graph, fitted, columns_of(x));
    const at::Tensor mean = change.mean(1);
    if (has_bias) {
      for (int64_t c = 0; c < kOut; ++c) {
        EXPECT_NEAR(fitted.bias_change[static_cast<size_t>(c)], -mean[c].item<double>(), 0.02);
      }
    }
    return std::pair{change.square().mean().item<double>(),
                     change.sub(mean.unsqueeze(1)).square().mean().item<double>()};
  };
  const auto [whole_with, spread_with] = errors(true);
  const auto [whole_without, spread_without] = errors(false);
  EXPECT_LT(spread_with, 0.9 * spread_without);
  EXPECT_LT(whole_without, 0.5 * whole_with);
}

// Nothing is known of the weights then but what they add up to; blank images must not end the work.
TEST(ConvFit, InputsMayBeConstant) {
  const graph::Graph graph = one_conv();
  at::Tensor x = at::zeros({4, kIn, kSide, kSide});
  for (int64_t c = 0; c < kIn; ++c) x.select(1, c).fill_(0.1 + 10.7 * static_cast<double>(c));
  const FittedConv fitted = fit_to(graph, x, {}, {}, {});
  const at::Tensor change = output_change(graph, fitted, columns_of(x)).select(1, 0);
  for (int64_t c = 0; c < kOut; ++c) {
    EXPECT_NEAR(fitted.bias_change[static_cast<size_t>(c)], -change[c].item<double>(), 1e-2);
  }
}

// Behind a ReLU that shuts one half of the map, only the other half matters.
TEST(PositionWeights, AreZeroWhereNothingIsRead) {
  graph::Graph graph;
  const graph::ValueId image = graph.add_value("images");
  graph.values[image].shape = {1, 1, kSide, kSide};
  graph.inputs = {image};
  const graph::ValueId first = add_conv(graph, "first", image, 1, 1, 1);
  graph.parameters["first.weight"] = Tensor::from<float>({1, 1, 1, 1}, std::vector<float>{1});
  graph.parameters["first.bias"] = Tensor::from<float>({1}, std::vector<float>{0});
  const graph::ValueId relu =
      graph.add_node("relu", graph::Activation{graph::ActivationKind::kRelu}, {first});
  graph.outputs = {add_conv(graph, "last", relu, 1, 4, 1)};
  graph::infer_shapes(graph);
  Tensor values(DType::kFloat32, {2, 1, kSide, kSide});
  exec::view_of(values).fill_(-1);
  exec::view_of(values)[1].slice(2, 0, kSide / 2).fill_(1);
  MemoryCalibrationData images(std::move(values));
  const PositionWeights weights =
      position_weights(graph, images, {.device = "cpu", .last = images.size()});
  ASSERT_EQ(weights.size(), 2U);
  const at::Tensor& of_first = weights.at("first");
  ASSERT_EQ(of_first.size(0), 2);
  EXPECT_EQ(of_first[0].count_nonzero().item<int64_t>(), 0);
  const at::Tensor map = of_first[1].to(c10::ScalarType::Float).view({kSide, kSide});
  EXPECT_EQ(map.slice(1, kSide / 2).count_nonzero().item<int64_t>(), 0);
  EXPECT_EQ(map.slice(1, 0, kSide / 2).count_nonzero().item<int64_t>(), kSide * kSide / 2);
  EXPECT_EQ(weights.at("last")[0].count_nonzero().item<int64_t>(), kSide * kSide);
}

}  // namespace
}  // namespace yoloquant::quant
