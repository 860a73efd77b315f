#include "quant/integer_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "exec/executor.h"
#include "quant/quantize.h"
#include "quant/small_graph.h"

namespace yoloquant::quant {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

// images -> stem (float: reads the image) -> a.conv -> SiLU -> split -> (one part -> b.conv ->
// SiLU), all three joined -> c.conv -> SiLU, and two branches: box.conv (last), and score.conv ->
// SiLU -> score.last -> sigmoid; boxes and scores are joined.
graph::Graph detector() {
  graph::Graph graph;
  const graph::ValueId image = graph.add_value("images");
  graph.values[image].shape = {1, 3, 32, 32};
  graph.inputs = {image};
  const auto silu = [&](const std::string& name, graph::ValueId value) {
    return graph.add_node(name, graph::Activation{}, {value});
  };
  const auto stem = silu("stem.act", add_conv(graph, "stem.conv", image, 3, 8, 3));
  const auto a = silu("a.act", add_conv(graph, "a.conv", stem, 8, 8, 1));
  const auto parts = graph.add_node("split", graph::Split{1, {4, 4}}, {a}, 2);
  const auto b = silu("b.act", add_conv(graph, "b.conv", parts[1], 4, 4, 3));
  const auto joined = graph.add_node("join", graph::Concat{1}, {parts[0], parts[1], b});
  const auto c = silu("c.act", add_conv(graph, "c.conv", joined, 12, 8, 1));
  const auto box = add_conv(graph, "box.conv", c, 8, 4, 1);
  const auto score = silu("score.act", add_conv(graph, "score.conv", c, 8, 8, 1));
  const auto logits = add_conv(graph, "score.last", score, 8, 3, 1);
  const auto scores = graph.add_node(
      "scores", graph::Activation{.kind = graph::ActivationKind::kSigmoid}, {logits});
  graph.outputs = {graph.add_node("out", graph::Concat{1}, {box, scores})};
  graph::infer_shapes(graph);
  return graph;
}

graph::Graph annotated_detector(MadeImages& images, const std::string& scheme) {
  QuantizationConfig config;
  config.scheme = parse_scheme(scheme);
  return quantize(detector(), config, images).graph;
}

TEST(IntegerGraph, ConvsThatDecideDetectionsStayFloat) {
  MadeImages images(2, 32);
  const IntegerPlan plan = plan_integers(annotated_detector(images, "w8a8"));
  std::vector<std::string> integer;
  for (const auto& [conv, annotation] : plan.graph.quantization) integer.push_back(conv);
  EXPECT_THAT(integer, ElementsAre("a.conv", "b.conv", "c.conv"));
  EXPECT_THAT(plan.values, Contains("a.act/Sigmoid"));
  EXPECT_THAT(plan.values, Contains("stem.act"));
  for (const char* never : {"stem.conv", "images", "score.conv", "score.act", "out", "scores"}) {
    EXPECT_THAT(plan.values, Not(Contains(never)));
  }
}

// Split and Concat move codes: what they join has one scale.
TEST(IntegerGraph, ValuesThatAreJoinedShareTheirScale) {
  MadeImages images(4, 32);
  QuantizationConfig config;
  config.scheme = parse_scheme("w8a8");
  const graph::Graph graph = integer_graph(annotated_detector(images, "w8a8"), config, images,
                                           {.calibration = {.device = "cpu"}});
  const auto scale = [&](const char* name) {
    return graph.value_quantization.at(name).scale.at(0);
  };
  EXPECT_EQ(scale("split:0"), scale("a.act"));
  EXPECT_EQ(scale("split:1"), scale("a.act"));
  EXPECT_EQ(scale("join"), scale("a.act"));
  EXPECT_EQ(scale("b.act"), scale("a.act"));
  EXPECT_NE(scale("a.conv"), scale("a.act"));
  EXPECT_FLOAT_EQ(scale("a.act/Sigmoid"), 1.0F / 255);
  EXPECT_EQ(graph.value_quantization.at("c.act/Sigmoid").zero_point.at(0), 0);
}

TEST(IntegerGraph, ComputesAboutTheSame) {
  MadeImages images(4, 32);
  QuantizationConfig config;
  config.scheme = parse_scheme("w8a8");
  const graph::Graph floats = detector();
  const Tensor image = random_tensor({1, 3, 32, 32}, 7, 0, 1);
  const Tensor expected = exec::Executor(floats, {.device = "cpu"}).run({image}).at(0);
  const graph::Graph graph = integer_graph(annotated_detector(images, "w8a8"), config, images,
                                           {.calibration = {.device = "cpu"}});
  const Tensor output = exec::Executor(graph, {.device = "cpu"}).run({image}).at(0);
  double error = 0;
  double total = 0;
  for (size_t i = 0; i < output.data<float>().size(); ++i) {
    error += std::abs(output.data<float>()[i] - expected.data<float>()[i]);
    total += std::abs(expected.data<float>()[i]);
  }
  EXPECT_LT(error, 0.03 * total);
  EXPECT_GT(error, 0);
}

// Codes as wide as needed for [-6, 400] would leave SiLU nothing to bend.
TEST(IntegerGraph, AConvTooWideForSiluStaysFloat) {
  MadeImages images(4, 32);
  QuantizationConfig config;
  config.scheme = parse_scheme("w8a8");
  graph::Graph wide = annotated_detector(images, "w8a8");
  for (float& x : wide.parameters.at("b.conv.weight").mutable_data<float>()) x *= 1000;
  for (float& x : wide.quantization.at("b.conv").weight->scale) x *= 1000;
  const graph::Graph graph =
      integer_graph(wide, config, images, {.calibration = {.device = "cpu"}});
  EXPECT_FALSE(graph.quantization.contains("b.conv"));
  EXPECT_FALSE(graph.value_quantization.contains("b.conv"));
  EXPECT_TRUE(graph.quantization.contains("a.conv"));
  EXPECT_TRUE(graph.value_quantization.contains("a.conv"));
}

TEST(IntegerGraph, OtherBitsAreRefused) {
  MadeImages images(2, 32);
  EXPECT_THROW(plan_integers(annotated_detector(images, "w8a6")), Error);
}

}  // namespace
}  // namespace yoloquant::quant
