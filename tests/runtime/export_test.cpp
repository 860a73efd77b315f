#include <gtest/gtest.h>

#include "exec/executor.h"
#include "onnx/check.h"
#include "onnx/clean.h"
#include "onnx/writer.h"
#include "runtime/session.h"
#include "support/models.h"
#include "support/npy.h"

// Files made of the real model definitions, run in ONNX Runtime and compared with the executor.
namespace yoloquant {
namespace {

using graph::Head;
using onnx::Precision;

const runtime::SessionOptions kCpu{.provider = runtime::Provider::kCpu, .threads = 1};

Tensor run_file(const graph::Graph& graph, const onnx::WriteOptions& options, const Tensor& image) {
  return runtime::Session::from_bytes(onnx::serialize(graph, options), kCpu).run({image}).at(0);
}

Tensor run_executor(const graph::Graph& graph, const Tensor& image) {
  return exec::Executor(graph, {.device = "cpu"}).run({image}).at(0);
}

// Rows of a [N, K, 6] output; those of equal score may come in any order.
void expect_same_detections(const Tensor& a, const Tensor& b, float tolerance) {
  ASSERT_EQ(a.shape(), b.shape());
  const auto left = a.data<float>();
  const auto right = b.data<float>();
  for (size_t row = 0; row < left.size() / 6; ++row) {
    EXPECT_NEAR(left[row * 6 + 4], right[row * 6 + 4], 1e-5) << "row " << row;
    bool found = false;
    for (size_t other = 0; other < right.size() / 6 && !found; ++other) {
      found = true;
      for (size_t i = 0; i < 6; ++i) {
        found = found && std::abs(left[row * 6 + i] - right[other * 6 + i]) <= tolerance;
      }
    }
    EXPECT_TRUE(found) << "row " << row << " has no partner";
  }
}

class EveryModel : public testing::TestWithParam<std::string> {};

TEST_P(EveryModel, GivesTheExecutorsOutputsInAllHeadsAndPrecisions) {
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  graph::Graph both = model::build(model::load_definition(GetParam() + ".yaml"), 64, 64);
  model::set_formula_parameters(both);
  const graph::Graph one2many = for_inference(both, Head::kOneToMany);
  const Tensor raw = run_executor(one2many, image);
  EXPECT_LT(test::relative_error(run_file(one2many, {}, image), raw), 1e-4);
  // The end-to-end file contains the one2one head; its float16 half decides on the same scores.
  const graph::Graph end2end = for_inference(both, Head::kEndToEnd);
  const Tensor detections = run_executor(end2end, image);
  expect_same_detections(run_file(end2end, {}, image), detections, 1e-2F);
  const Tensor half = run_file(end2end, {.precision = Precision::kFloat16}, image);
  ASSERT_EQ(half.shape(), detections.shape());
  for (size_t i = 4; i < static_cast<size_t>(half.size()); i += 6) {
    EXPECT_NEAR(half.data<float>()[i], detections.data<float>()[i], 2e-2) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Yolov10, EveryModel,
                         testing::Values("yolov10n", "yolov10s", "yolov10m", "yolov10b", "yolov10l",
                                         "yolov10x"),
                         [](const auto& variant) { return variant.param; });

TEST(Export, OneToOneHeadAndNewerOpsets) {
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  const graph::Graph graph = test::formula_graph("yolov10s", Head::kOneToOne);
  const Tensor expected = run_executor(graph, image);
  for (const int opset : {13, 18, 21}) {
    EXPECT_LT(test::relative_error(run_file(graph, {.opset = opset}, image), expected), 1e-4);
  }
}

TEST(Export, UnfoldedBatchNorm) {
  graph::Graph graph = model::build(model::load_definition("yolov10n.yaml"), 64, 64);
  model::set_formula_parameters(graph);
  graph = keep_head(graph, Head::kOneToMany);
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  EXPECT_LT(test::relative_error(run_file(graph, {}, image), run_executor(graph, image)), 1e-4);
}

TEST(Export, DynamicFilesRunAtAnySizeAndBatch) {
  const graph::Graph raw = test::formula_graph("yolov10n", Head::kOneToMany);
  runtime::Session session =
      runtime::Session::from_bytes(onnx::serialize(raw, {.dynamic = true}), kCpu);
  EXPECT_EQ(session.inputs()[0].shape, Shape({-1, 3, -1, -1}));
  EXPECT_EQ(session.inputs()[0].symbols[2], "height");
  for (const Shape& shape : {Shape{1, 3, 64, 64}, Shape{3, 3, 96, 32}, Shape{2, 3, 160, 128}}) {
    const Tensor image = model::formula_tensor("images", shape);
    const Tensor output = session.run({image}).at(0);
    EXPECT_LT(test::relative_error(output, run_executor(raw, image)), 1e-4);
  }
}

TEST(Export, EndToEndSelectsWhatTheExecutorSelects) {
  const graph::Graph graph = test::formula_graph("yolov10n", Head::kEndToEnd);
  for (const bool dynamic : {false, true}) {
    const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
    const Tensor output = run_file(graph, {.opset = dynamic ? 18 : 13, .dynamic = dynamic}, image);
    EXPECT_EQ(output.shape(), Shape({1, 84, 6}));  // fewer anchor points than 300
    expect_same_detections(output, run_executor(graph, image), 1e-3F);
  }
  const Tensor two = model::formula_tensor("images", {2, 3, 192, 160});
  const Tensor output = run_file(graph, {.dynamic = true}, two);
  EXPECT_EQ(output.shape(), Shape({2, 300, 6}));
  expect_same_detections(output, run_executor(graph, two), 1e-3F);
}

TEST(Export, Float16IsCloseToFloat32) {
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  for (const Head head : {Head::kOneToMany, Head::kOneToOne}) {
    const graph::Graph graph = test::formula_graph("yolov10n", head);
    const Tensor expected = run_executor(graph, image);
    for (const bool dynamic : {false, true}) {
      const Tensor output =
          run_file(graph, {.precision = Precision::kFloat16, .dynamic = dynamic}, image);
      EXPECT_EQ(output.dtype(), DType::kFloat32);
      EXPECT_LT(test::relative_error(output, expected), 1e-2);
    }
  }
  const graph::Graph selecting = test::formula_graph("yolov10n", Head::kEndToEnd);
  const Tensor output = run_file(selecting, {.precision = Precision::kFloat16}, image);
  EXPECT_EQ(output.shape(), Shape({1, 84, 6}));
}

struct QuantizedCase {
  int bits;
  bool inputs;
  Precision precision;
  int opset;
  double tolerance;
};

class Quantized : public testing::TestWithParam<QuantizedCase> {};

// The executor simulates quantization; without graph optimizations the file computes the same.
TEST_P(Quantized, FilesComputeWhatTheExecutorSimulates) {
  const QuantizedCase& param = GetParam();
  graph::Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  test::annotate(graph, param.bits, param.inputs);
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  const Tensor expected = run_executor(graph, image);
  const std::string file =
      onnx::serialize(graph, {.precision = param.precision, .opset = param.opset});
  for (const bool optimized : {false, true}) {
    runtime::SessionOptions options = kCpu;
    options.graph_optimization = optimized;
    const Tensor output = runtime::Session::from_bytes(file, options).run({image}).at(0);
    EXPECT_LT(test::relative_error(output, expected), param.tolerance) << optimized;
  }
}

// The layouts hold the same codes and scales. With graph optimizations ONNX Runtime may take one
// layout's conv into integers and not the other's.
TEST(Layouts, Int4ComputesTheSameAsQcdq) {
  graph::Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  for (const int bits : {2, 3, 4, 8}) {
    test::annotate(graph, bits, true);
    const std::string qcdq = onnx::serialize(graph);
    const std::string int4 = onnx::serialize(graph, {.opset = 21, .layout = onnx::Layout::kInt4});
    const std::string cleaned = onnx::clean_bytes(int4);
    EXPECT_LE(cleaned.size(), int4.size());
    for (const bool optimized : {false, true}) {
      runtime::SessionOptions options = kCpu;
      options.graph_optimization = optimized;
      const auto run = [&](const std::string& file) {
        return runtime::Session::from_bytes(file, options).run({image}).at(0);
      };
      const Tensor expected = run(qcdq);
      const double bound = optimized ? 2e-2 : 0;
      EXPECT_LE(test::relative_error(run(int4), expected), bound) << bits << optimized;
      EXPECT_LE(test::relative_error(run(cleaned), expected), bound) << bits << optimized;
    }
  }
}

// Values quantized for all their readers; without graph optimizations the file rounds where the
// executor does. With them ONNX Runtime's integer kernels may differ by a step here and there.
TEST(Layouts, DeployComputesWhatTheExecutorSimulates) {
  graph::Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  test::annotate(graph, 8, false);
  for (const char* name : {"model.0.act", "model.1.conv", "model.1.act"}) {
    graph.value_quantization[name] = {
        .bits = 8, .qmin = 0, .qmax = 255, .axis = -1, .scale = {0.5F}, .zero_point = {51}};
  }
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  const Tensor expected = run_executor(graph, image);
  graph::Graph floats = graph;
  floats.value_quantization.clear();
  const double effect = test::relative_error(run_executor(floats, image), expected);
  ASSERT_GT(effect, 0);
  const std::string file = onnx::serialize(graph, {.layout = onnx::Layout::kDeploy});
  EXPECT_FALSE(onnx::check_bytes(file).op_counts.contains("Clip"));
  EXPECT_EQ(onnx::check_bytes(file).op_counts.at("QuantizeLinear"), 3);
  for (const bool optimized : {false, true}) {
    runtime::SessionOptions options = kCpu;
    options.graph_optimization = optimized;
    const Tensor output = runtime::Session::from_bytes(file, options).run({image}).at(0);
    EXPECT_LT(test::relative_error(output, expected), 0.5 * effect) << optimized;
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, Quantized,
                         testing::Values(QuantizedCase{8, false, Precision::kFloat32, 13, 1e-4},
                                         QuantizedCase{4, false, Precision::kFloat32, 13, 1e-4},
                                         QuantizedCase{8, true, Precision::kFloat32, 13, 2e-2},
                                         QuantizedCase{4, true, Precision::kFloat32, 21, 2e-2},
                                         QuantizedCase{8, false, Precision::kFloat16, 13, 2e-2},
                                         QuantizedCase{8, false, Precision::kFloat16, 19, 2e-2},
                                         QuantizedCase{4, true, Precision::kFloat16, 21, 1e-1}),
                         [](const auto& each) {
                           return fmt::format(
                               "w{}a{}_{}_opset{}", each.param.bits, each.param.inputs ? 8 : 16,
                               onnx::precision_name(each.param.precision), each.param.opset);
                         });

}  // namespace
}  // namespace yoloquant
