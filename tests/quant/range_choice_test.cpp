#include "quant/range_choice.h"

#include <gtest/gtest.h>

#include <numeric>

#include "quant/fisher.h"
#include "quant/quantize.h"
#include "quant/sensitivity.h"
#include "small_graph.h"
#include "tiny_detector.h"

namespace yoloquant::quant {
namespace {

// images [1, 2, 8, 8] -> conv of one output channel with weights `first` and `second`.
graph::Graph two_channels(float first, float second) {
  graph::Graph graph;
  const graph::ValueId image = graph.add_value("images");
  graph.values[image].shape = {1, 2, 8, 8};
  graph.inputs = {image};
  graph.outputs = {add_conv(graph, "conv", image, 2, 1, 1)};
  graph.parameters["conv.weight"] =
      Tensor::from<float>({1, 2, 1, 1}, std::vector<float>{first, second});
  graph::infer_shapes(graph);
  return graph;
}

// The first channel in [0, 1], the second in [0, 20].
MemoryCalibrationData unlike_channels(int64_t images) {
  Tensor tensor = random_tensor({images, 2, 8, 8}, 7, 0, 1);
  const auto values = tensor.mutable_data<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (i / 64 % 2 == 1) values[i] *= 20;
  }
  return MemoryCalibrationData(std::move(tensor));
}

double total(const ValueDensity& density) {
  return std::accumulate(density.weight.begin(), density.weight.end(), 0.0);
}

TEST(Fisher, WeighsWhatTheOutputReads) {
  // y = 3 x: of each of 64 values the squared gradient is 9 / sum y^2, whatever the signs.
  const graph::Graph graph = two_channels(3, 0);
  Tensor images(DType::kFloat32, {1, 2, 8, 8});
  for (float& x : images.mutable_data<float>()) x = 0.5F;
  MemoryCalibrationData data(std::move(images));
  graph::Graph plain = graph;
  for (float& x : plain.parameters.at("conv.bias").mutable_data<float>()) x = 0;
  const FisherDensities densities =
      fisher_densities(plain, {{0, {0, 1}}}, data, {.device = "cpu", .last = 1});
  const ValueDensity& density = densities.at(0);
  EXPECT_NEAR(total(density), 64 * 9 / (64 * 1.5 * 1.5), 1e-5);
  ASSERT_EQ(density.value.size(), 1U);
  EXPECT_NEAR(density.value[0], 0.5, density.width);
}

TEST(RangeOf, IsTheRangeThatMakesTheQuantizer) {
  for (const bool symmetric : {false, true}) {
    for (const ActivationRange& range : {ActivationRange{-0.28, 3.1}, {0, 7}, {-2, 0}, {-1, 5}}) {
      const graph::Quantizer one = activation_quantizer(range, 6, symmetric);
      const graph::Quantizer other = activation_quantizer(range_of(one), 6, symmetric);
      EXPECT_FLOAT_EQ(one.scale[0], other.scale[0]);
      EXPECT_EQ(one.zero_point, other.zero_point);
    }
  }
}

TEST(SetFixedRange, HasTheLastWordAndLeavesOneRuleAConv) {
  QuantizationConfig config = parse_config(
      "{scheme: w4a6, layers: [{match: head.conv, weight_bits: 8},"
      " {match: 'head*', activation_range: minmax}]}");
  set_fixed_range(config, "head.conv", {-1, 2});
  set_fixed_range(config, "head.conv", {-1, 3});
  EXPECT_EQ(config.rules.size(), 3U);
  const LayerSettings settings = settings_for(config, "head.conv");
  EXPECT_EQ(settings.activation_range, RangeMethod::kFixed);
  EXPECT_EQ(settings.activation_high, 3);
  EXPECT_EQ(settings.weight_bits, 8);
}

// The weights foretell what small errors do to a detector: rounding of the inputs of two convs.
TEST(Fisher, FollowsTheHarmOfADetector) {
  const graph::Graph graph = tiny_detector();
  ASSERT_TRUE(watched_values(graph).detection);
  MadeImages images(8, 64);
  std::vector<double> ratios;
  for (const std::string conv : {"model.1.cv1.conv", "model.2.cv2.conv"}) {
    const graph::Node* node = graph.find_node(conv);
    ASSERT_NE(node, nullptr) << conv;
    const graph::ValueId input = node->inputs.at(0);
    const ActivationRange range =
        minmax_range(observe_activations(graph, {conv}, images, {.device = "cpu"}).at(conv));
    const graph::Quantizer coarse = activation_quantizer(range, 6, false);
    const FisherDensities densities =
        fisher_densities(graph, {{input, range}}, images, {.device = "cpu", .last = images.size()});
    Variant variant;
    variant.name = conv;
    variant.changes[conv].input = coarse;
    const ReplayResult measured = replay(graph, graph, {variant}, images, {.device = "cpu"});
    ratios.push_back(mean_squared_error(densities.at(input), coarse) /
                     measured.variants.at(0).harm());
  }
  EXPECT_GT(ratios[0], 0);
  EXPECT_NEAR(ratios[0] / ratios[1], 1, 0.3);
}

TEST(RangeChoice, SpendsNoCodesOnWhatNobodyReads) {
  MemoryCalibrationData images = unlike_channels(16);
  QuantizationConfig config;
  config.scheme = {8, 8};
  const auto high = [&](float first, float second) {
    const auto chosen = choose_conv_ranges(two_channels(first, second), config, images,
                                           {.calibration = {.device = "cpu"}});
    EXPECT_EQ(chosen.seen.at("conv").count(), 16U * 2 * 64);
    const LayerSettings settings = settings_for(chosen.config, "conv");
    EXPECT_EQ(settings.activation_range, RangeMethod::kFixed);
    return settings.activation_high;
  };
  EXPECT_LT(high(1, 0), 3);
  EXPECT_GT(high(1, 1), 18);
  EXPECT_GT(high(0, 1), 18);
}

TEST(RangeChoice, LeavesOthersAlone) {
  MemoryCalibrationData images = unlike_channels(16);
  const graph::Graph graph = two_channels(1, 1);
  QuantizationConfig config;
  config.scheme = {4, 16};
  EXPECT_TRUE(choose_conv_ranges(graph, config, images, {}).config.rules.empty());
  config.scheme = {8, 8};
  MemoryCalibrationData few = unlike_channels(kLeastImagesToChooseRanges - 1);
  EXPECT_TRUE(choose_conv_ranges(graph, config, few, {}).config.rules.empty());
  config.defaults.activation_range = RangeMethod::kMinMax;
  EXPECT_TRUE(choose_conv_ranges(graph, config, images, {}).config.rules.empty());
}

TEST(RangeChoice, QuantizeUsesIt) {
  MemoryCalibrationData images = unlike_channels(16);
  QuantizationConfig config;
  config.scheme = {8, 8};
  QuantizeOptions options;
  options.calibration.device = "cpu";
  const auto high = [&](RangeMethod method) {
    config.defaults.activation_range = method;
    return quantize(two_channels(1, 0), config, images, options).layers.at(0).input->high;
  };
  EXPECT_GT(high(RangeMethod::kMinMax), 18);
  EXPECT_LT(high(RangeMethod::kChosen), 3);
}

}  // namespace
}  // namespace yoloquant::quant
