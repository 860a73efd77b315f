#include "runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "onnx/edit.h"
#include "onnx/writer.h"
#include "runtime/diff.h"
#include "runtime/latency.h"
#include "support/models.h"
#include "support/onnx_models.h"
#include "support/temporary_folder.h"

namespace yoloquant::runtime {
namespace {

using test::OnnxModel;
using testing::HasSubstr;
using testing::Not;

const SessionOptions kCpu{.provider = Provider::kCpu, .threads = 1};

// y = relu(x * factor), with an integer output on the side.
std::string scaling_model(float factor, int type = ::onnx::TensorProto::FLOAT) {
  OnnxModel model;
  model.input("x", {2, 2}, type);
  if (type == ::onnx::TensorProto::FLOAT) {
    model.floats("factor", {}, {factor});
  } else {
    model.tensor<uint16_t>("factor", {}, {float_to_half(factor)}, type);
  }
  model.node("Mul", {"x", "factor"}, {"scaled"});
  model.node("Relu", {"scaled"}, {"y"});
  OnnxModel::attribute(model.node("ArgMax", {"y"}, {"best"}), "axis", int64_t{1});
  model.output("y", {2, 2}, type);
  model.output("best", {2, 1}, ::onnx::TensorProto::INT64);
  return model.bytes();
}

const Tensor kX = Tensor::from<float>({2, 2}, std::vector<float>{1, -2, 3, 4});

TEST(Session, RunsAndDescribesItself) {
  Session session = Session::from_bytes(scaling_model(2), kCpu);
  EXPECT_EQ(session.provider(), "CPUExecutionProvider");
  EXPECT_EQ(session.fallback_reason(), "");
  EXPECT_EQ(session.inputs().at(0).name, "x");
  EXPECT_EQ(session.inputs().at(0).shape, Shape({2, 2}));
  EXPECT_EQ(session.outputs().at(1).dtype, DType::kInt64);
  const auto outputs = session.run({kX});
  EXPECT_TRUE(equal(outputs.at(0), Tensor::from<float>({2, 2}, std::vector<float>{2, 0, 6, 8})));
  EXPECT_TRUE(equal(outputs.at(1), Tensor::from<int64_t>({2, 1}, std::vector<int64_t>{0, 1})));
}

TEST(Session, ConvertsFloatInputs) {
  Session session = Session::from_bytes(scaling_model(2, ::onnx::TensorProto::FLOAT16), kCpu);
  const auto outputs = session.run({kX});
  EXPECT_EQ(outputs.at(0).dtype(), DType::kFloat16);
  EXPECT_EQ(outputs.at(0).to_float32().data<float>()[3], 8.0F);
}

TEST(Session, RunIntoWritesWhereItIsTold) {
  Session session = Session::from_bytes(scaling_model(3), kCpu);
  std::vector<Tensor> outputs{Tensor(DType::kFloat32, {2, 2}), Tensor(DType::kInt64, {2, 1})};
  const Tensor before = outputs[0];  // a copy that must not change
  session.run_into({kX}, outputs);
  EXPECT_EQ(outputs[0].data<float>()[3], 12.0F);
  EXPECT_EQ(before.data<float>()[3], 0.0F);
}

TEST(Session, FallsBackToTheCpuWithAReason) {
  const auto providers = available_providers();
  if (std::ranges::find(providers, "CUDAExecutionProvider") != providers.end()) {
    GTEST_SKIP() << "this ONNX Runtime has CUDA";
  }
  for (const Provider provider : {Provider::kAuto, Provider::kCuda, Provider::kTensorRt}) {
    const Session session = Session::from_bytes(scaling_model(2), {.provider = provider});
    EXPECT_EQ(session.provider(), "CPUExecutionProvider");
    EXPECT_THAT(session.fallback_reason(), HasSubstr("CUDAExecutionProvider"));
  }
}

TEST(Session, ErrorsAreOneLineThatNamesTheFile) {
  const test::TemporaryFolder folder;
  write_file(folder / "bad.onnx", "no model");
  for (const char* name : {"bad.onnx", "missing.onnx"}) {
    try {
      Session session(folder / name, kCpu);
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(name));
      EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    }
  }
}

TEST(Session, RefusesWrongInputs) {
  Session session = Session::from_bytes(scaling_model(2), kCpu);
  EXPECT_THROW(session.run({}), Error);
  EXPECT_THROW(session.run({Tensor(DType::kFloat32, {3, 2})}), Error);
  EXPECT_THROW(session.run({Tensor(DType::kInt64, {2, 2})}), Error);
  std::vector<Tensor> outputs{Tensor(DType::kFloat32, {2, 3}), Tensor(DType::kInt64, {2, 1})};
  EXPECT_THROW(session.run_into({kX}, outputs), Error);
}

TEST(Session, KnowsItsVersion) { EXPECT_THAT(version(), testing::StartsWith("1.")); }

TEST(Diff, FindsNothingBetweenEqualFilesAndTheFactorBetweenOthers) {
  const test::TemporaryFolder folder;
  write_file(folder / "a.onnx", scaling_model(2));
  write_file(folder / "b.onnx", scaling_model(2.5F));
  EXPECT_EQ(diff(folder / "a.onnx", folder / "a.onnx").max_abs(), 0.0);
  const DiffReport report = diff(folder / "a.onnx", folder / "b.onnx", {kX}, {.per_node = true});
  EXPECT_DOUBLE_EQ(report.outputs.at(0).max_abs, 2.0);
  EXPECT_DOUBLE_EQ(report.outputs.at(0).max_relative, 0.25);
  EXPECT_DOUBLE_EQ(report.outputs.at(0).mean_abs, (0.5 + 1.5 + 2) / 4);
  EXPECT_DOUBLE_EQ(report.outputs.at(1).max_abs, 0.0);
  ASSERT_EQ(report.nodes.size(), 3U);
  EXPECT_EQ(report.nodes.at(0).name, "scaled");  // worst first; equal ones in execution order
  EXPECT_EQ(report.nodes.at(0).op, "Mul");
  EXPECT_EQ(report.nodes.at(2).name, "best");
}

TEST(Diff, PointsAtTheNodesThatQuantizationChanged) {
  const test::TemporaryFolder folder;
  graph::Graph graph = test::formula_graph("yolov10n", graph::Head::kOneToMany);
  onnx::write(graph, folder / "float.onnx");
  test::annotate(graph, 8, false);
  for (auto& [name, annotation] : graph.quantization) {
    if (name != "model.22.cv2.conv" && name != "model.22.cv1.conv") annotation.weight.reset();
  }
  onnx::write(graph, folder / "quantized.onnx");
  const DiffReport report =
      diff(folder / "float.onnx", folder / "quantized.onnx", {},
           {.per_node = true,
            .session = {.provider = Provider::kCpu, .threads = 1, .graph_optimization = false}});
  EXPECT_GT(report.nodes.size(), 200U);
  for (const Difference& node : report.nodes) {
    const bool behind = node.name.starts_with("model.22") || node.name.starts_with("model.23") ||
                        node.name == "output0";
    if (!behind) {
      EXPECT_EQ(node.max_abs, 0.0) << node.name;
    }
  }
  EXPECT_GT(report.nodes.at(0).max_abs, 0.0);
}

TEST(Diff, RefusesFilesWithOtherInterfaces) {
  const test::TemporaryFolder folder;
  write_file(folder / "a.onnx", scaling_model(2));
  write_file(folder / "b.onnx", onnx::with_outputs(scaling_model(2), {"scaled"}));
  EXPECT_THROW(diff(folder / "a.onnx", folder / "b.onnx"), Error);
}

TEST(Diff, FiguresOfSpecialValues) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto tensor = [](const std::vector<float>& values) {
    return Tensor::from<float>({2}, values);
  };
  EXPECT_EQ(difference("", tensor({inf, nan}), tensor({inf, nan})).max_abs, 0.0);
  EXPECT_EQ(difference("", tensor({1, 2}), tensor({1, nan})).max_abs, inf);
  EXPECT_EQ(difference("", tensor({0, 0}), tensor({0, 0})).max_relative, 0.0);
  EXPECT_EQ(difference("", tensor({1, 2}), Tensor(DType::kFloat32, {3})).max_abs, inf);
}

TEST(WithOutputs, RefusesValuesNothingMakes) {
  EXPECT_THROW(onnx::with_outputs(scaling_model(2), {"nowhere"}), Error);
}

TEST(Latency, FiguresAreConsistent) {
  Session session = Session::from_bytes(scaling_model(2), kCpu);
  const Latency latency = measure_latency(session, 2, 20);
  EXPECT_EQ(latency.runs_ms.size(), 20U);
  EXPECT_GT(latency.median_ms, 0);
  EXPECT_LE(latency.median_ms, latency.p90_ms);
  EXPECT_NEAR(latency.throughput_fps, 2 * 1000 / latency.mean_ms, 1e-6);
  EXPECT_THROW(measure_latency(session, 0, 0), Error);
}

TEST(Latency, ComparesInTurn) {
  Session a = Session::from_bytes(scaling_model(2), kCpu);
  Session b = Session::from_bytes(scaling_model(3), kCpu);
  const LatencyComparison comparison = compare_latency({&a, &b}, 1, 30);
  ASSERT_EQ(comparison.each.size(), 2U);
  EXPECT_EQ(comparison.ratios.at(0).median, 1.0);
  EXPECT_LE(comparison.ratios.at(1).low, comparison.ratios.at(1).median);
  EXPECT_GE(comparison.ratios.at(1).high, comparison.ratios.at(1).median);
}

}  // namespace
}  // namespace yoloquant::runtime
