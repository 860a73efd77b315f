#include <gtest/gtest.h>

#include <algorithm>

#include "exec/executor.h"
#include "graph/passes.h"
#include "model/model.h"
#include "support/npy.h"
#include "support/shared_data.h"

namespace yoloquant {
namespace {

graph::Graph formula_model(const std::string& name, int64_t height, int64_t width) {
  graph::Graph graph = model::build(model::load_definition(name + ".yaml"), height, width);
  model::set_formula_parameters(graph);
  return graph;
}

std::vector<Tensor> run(const graph::Graph& graph, const Tensor& image) {
  return exec::Executor(graph, {.device = "cpu"}).run({image});
}

class FormulaWeights : public testing::TestWithParam<std::string> {};

TEST_P(FormulaWeights, GiveTheOutputsOfTheOriginal) {
  YQ_REQUIRE_SHARED();
  const graph::Graph graph = formula_model(GetParam(), 64, 64);
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  const std::vector<Tensor> outputs = run(graph, image);
  const auto golden = [&](const char* head) {
    return test::read_npy(test::shared_data() / "golden" /
                          fmt::format("{}_formula_{}_64.npy", GetParam(), head));
  };
  EXPECT_LT(test::relative_error(outputs.at(0), golden("one2many")), 1e-4);
  EXPECT_LT(test::relative_error(outputs.at(1), golden("one2one")), 1e-4);
  const graph::Graph folded = for_inference(graph, graph::Head::kOneToMany);
  EXPECT_LT(test::relative_error(run(folded, image).at(0), golden("one2many")), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Yolov10, FormulaWeights,
                         testing::Values("yolov10n", "yolov10s", "yolov10m", "yolov10b", "yolov10l",
                                         "yolov10x"),
                         [](const auto& variant) { return variant.param; });

TEST(Passes, EachKeepsTheOutputs) {
  const graph::Graph graph = formula_model("yolov10s", 64, 96);
  const Tensor image = model::formula_tensor("images", {2, 3, 64, 96});
  const std::vector<Tensor> expected = run(graph, image);
  const auto unchanged = [&](const graph::Graph& rewritten, size_t output) {
    graph::check(rewritten);
    return test::relative_error(run(rewritten, image).at(0), expected.at(output));
  };
  const graph::Graph one2many = keep_head(graph, graph::Head::kOneToMany);
  EXPECT_EQ(unchanged(one2many, 0), 0.0);
  EXPECT_EQ(unchanged(keep_head(graph, graph::Head::kOneToOne), 1), 0.0);
  EXPECT_EQ(unchanged(remove_dead_code(graph), 0), 0.0);
  EXPECT_LT(one2many.nodes.size(), graph.nodes.size());
  const graph::Graph folded = fold_batch_norm(one2many);
  EXPECT_LT(unchanged(folded, 0), 1e-4);
  for (const graph::Node& node : folded.nodes) {
    EXPECT_FALSE(std::holds_alternative<graph::BatchNorm>(node.op)) << node.name;
  }
  const graph::Graph merged = merge_parallel_convs(folded);
  EXPECT_EQ(conv_names(merged).size() + 2, conv_names(folded).size());
  EXPECT_LT(unchanged(merged, 0), 1e-4);
}

TEST(Executor, RunsAnyBatchAndSizeWithoutAnotherInference) {
  graph::Graph graph = for_inference(formula_model("yolov10n", 64, 64), graph::Head::kOneToOne);
  exec::Executor executor(graph, {.device = "cpu"});
  const Tensor two = model::formula_tensor("images", {2, 3, 96, 32});
  const Tensor both = executor.run({two}).at(0);
  const Shape expected = {2, 84, 12 * 4 + 6 * 2 + 3 * 1};
  EXPECT_EQ(both.shape(), expected);
  set_input_shape(graph, {2, 3, 96, 32});
  EXPECT_EQ(graph.values[graph.outputs[0]].shape, expected);
}

TEST(Executor, EndToEndSelectsTheBestPairs) {
  const graph::Graph graph = formula_model("yolov10n", 64, 64);
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  const Tensor raw = run(keep_head(graph, graph::Head::kOneToOne), image).at(0);
  const Tensor rows = run(keep_head(graph, graph::Head::kEndToEnd, 20), image).at(0);
  ASSERT_EQ(rows.shape(), (Shape{1, 20, 6}));
  const auto scores = raw.data<float>().subspan(4 * 84);
  EXPECT_FLOAT_EQ(rows.data<float>()[4], *std::ranges::max_element(scores));
  for (size_t i = 0; i < 20; ++i) {
    const auto row = rows.data<float>().subspan(i * 6, 6);
    if (i > 0) {
      EXPECT_LE(row[4], rows.data<float>()[(i - 1) * 6 + 4]);
    }
    // The row is one of the raw candidates.
    const auto label = static_cast<size_t>(row[5]);
    const auto per_class = scores.subspan(label * 84, 84);
    const auto found = std::ranges::find(per_class, row[4]);
    ASSERT_NE(found, per_class.end());
    const auto point = static_cast<size_t>(found - per_class.begin());
    const auto box = [&](size_t k) { return raw.data<float>()[k * 84 + point]; };
    EXPECT_NEAR(row[0], box(0) - box(2) / 2, 1e-3);
    EXPECT_NEAR(row[3], box(1) + box(3) / 2, 1e-3);
  }
}

TEST(Executor, TapsSeeFloatInputsAndCanStopTheRun) {
  const graph::Graph graph =
      for_inference(formula_model("yolov10n", 64, 64), graph::Head::kOneToMany);
  exec::Executor executor(graph, {.device = "cpu"});
  std::vector<std::string> seen;
  executor.set_tap(
      [&](const graph::Node& node, const auto&, const auto&) { seen.push_back(node.name); },
      {"model.3.conv", "model.1.conv"});
  executor.set_stop_after_taps(true);
  EXPECT_TRUE(executor.run({model::formula_tensor("images", {1, 3, 64, 64})}).empty());
  EXPECT_EQ(seen, (std::vector<std::string>{"model.1.conv", "model.3.conv"}));
  EXPECT_THROW(executor.set_tap(nullptr, {"model.99.conv"}), Error);
}

TEST(Executor, SaysWhichDeviceOrInputIsWrong) {
  const graph::Graph graph = formula_model("yolov10n", 64, 64);
  EXPECT_THROW(exec::Executor(graph, {.device = "tpu"}), Error);
  exec::Executor executor(graph, {.device = "cpu"});
  EXPECT_THROW(executor.run({Tensor(DType::kFloat32, {1, 4, 64, 64})}), Error);
  EXPECT_THROW(executor.run(std::vector<Tensor>{}), Error);
}

TEST(Executor, FakeQuantizesAsTheHostArithmeticDoes) {
  graph::Graph graph = for_inference(formula_model("yolov10n", 64, 64), graph::Head::kOneToMany);
  const std::string conv = "model.0.conv";
  const Tensor weight = graph.parameter(conv + ".weight");
  graph::Quantizer q{.bits = 4, .qmin = -8, .qmax = 7, .axis = 0, .scale = {}, .zero_point = {}};
  for (int64_t i = 0; i < weight.dim(0); ++i) {
    q.scale.push_back(0.01F + 0.002F * static_cast<float>(i));
    q.zero_point.push_back(0);
  }
  const graph::Quantizer input{
      .bits = 8, .qmin = 0, .qmax = 255, .axis = -1, .scale = {0.0039F}, .zero_point = {3}};
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  graph::Graph annotated = graph;
  annotated.quantization[conv] = {.weight = q, .input = input};
  graph.parameters[conv + ".weight"] = dequantize(quantize(weight, q), q);
  const Tensor rounded = dequantize(quantize(image, input), input);
  EXPECT_EQ(test::relative_error(run(annotated, image).at(0), run(graph, rounded).at(0)), 0.0);
}

}  // namespace
}  // namespace yoloquant
