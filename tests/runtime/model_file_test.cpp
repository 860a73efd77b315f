#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "onnx/check.h"
#include "onnx/clean.h"
#include "onnx/reader.h"
#include "onnx/writer.h"
#include "runtime/diff.h"
#include "support/models.h"
#include "support/npy.h"
#include "support/onnx_models.h"
#include "support/temporary_folder.h"

// What cleaning and reading keep, proven in ONNX Runtime.
namespace yoloquant {
namespace {

using graph::Graph;
using graph::Head;
using test::OnnxModel;
using testing::IsEmpty;

const runtime::DiffOptions kPlain{
    .per_node = false,
    .session = {.provider = runtime::Provider::kCpu, .threads = 1, .graph_optimization = false}};

int64_t count(const onnx::CheckReport& report, const std::string& op) {
  const auto found = report.op_counts.find(op);
  return found == report.op_counts.end() ? 0 : found->second;
}

// Cleans a model and expects the same outputs; returns the report on the clean file.
onnx::CheckReport expect_clean_keeps_outputs(const std::string& bytes, double tolerance = 0) {
  const test::TemporaryFolder folder;
  write_file(folder / "in.onnx", bytes);
  onnx::clean(folder / "in.onnx", folder / "out.onnx");
  const auto report = runtime::diff(folder / "in.onnx", folder / "out.onnx", {}, kPlain);
  EXPECT_TRUE(report.comparable());
  EXPECT_LE(report.max_abs(), tolerance);
  const onnx::CheckReport before = onnx::check(folder / "in.onnx");
  onnx::CheckReport after = onnx::check(folder / "out.onnx");
  EXPECT_THAT(after.problems, IsEmpty());
  for (const char* op : {"QuantizeLinear", "DequantizeLinear", "Clip"}) {
    EXPECT_EQ(count(after, op), count(before, op)) << op;
  }
  return after;
}

TEST(Clean, KeepsExportedFilesOfAllKinds) {
  for (const Head head : {Head::kOneToMany, Head::kEndToEnd}) {
    Graph graph = test::formula_graph("yolov10n", head);
    for (const bool dynamic : {false, true}) {
      expect_clean_keeps_outputs(onnx::serialize(graph, {.dynamic = dynamic}));
    }
    test::annotate(graph, 4, true);
    expect_clean_keeps_outputs(onnx::serialize(graph));
    expect_clean_keeps_outputs(
        onnx::serialize(graph, {.precision = onnx::Precision::kFloat16, .opset = 19}));
  }
}

// What torch.onnx and the reference's exporter leave behind.
OnnxModel cluttered_model() {
  OnnxModel model;
  model.input("x", {1, 2, 4, 4});
  model.input("w", {2, 2, 1, 1});  // an initializer listed as input
  model.floats("w", {2, 2, 1, 1}, {1, -2, 3, 0.5F});
  model.floats("w_copy", {2, 2, 1, 1}, {1, -2, 3, 0.5F});
  model.floats("unused", {100}, std::vector<float>(100, 1));
  model.node("Identity", {"x"}, {"x1"});
  model.node("Conv", {"x1", "w"}, {"c1"});
  model.node("Conv", {"c1", "w_copy"}, {"c2"});
  model.node("Dropout", {"c2"}, {"d"});
  OnnxModel::attribute(model.node("Transpose", {"d"}, {"t1"}), "perm", {0, 2, 3, 1});
  OnnxModel::attribute(model.node("Transpose", {"t1"}, {"t2"}), "perm", {0, 3, 1, 2});
  OnnxModel::attribute(model.node("Cast", {"x"}, {"wide"}), "to", int64_t{11});
  OnnxModel::attribute(model.node("Cast", {"wide"}, {"narrow"}), "to", int64_t{1});
  model.node("Add", {"t2", "narrow"}, {"sum"});
  model.node("Shape", {"x"}, {"shape"});
  OnnxModel::attribute(model.node("Constant", {}, {"zero"}), "value_ints", std::vector<int64_t>{0});
  model.node("Gather", {"shape", "zero"}, {"batch"});
  model.ints("minus", {-1});
  OnnxModel::attribute(model.node("Concat", {"batch", "minus"}, {"target"}), "axis", int64_t{0});
  model.ints("other", {2, 16});
  model.node("Reshape", {"sum", "other"}, {"r1"});
  model.node("Reshape", {"r1", "target"}, {"r2"});
  model.node("Relu", {"c1"}, {"dead"});
  model.node("Identity", {"r2"}, {"y"});
  model.output("y", {1, 32});
  return model;
}

TEST(Clean, RemovesClutter) {
  const onnx::CheckReport after = expect_clean_keeps_outputs(cluttered_model().bytes());
  EXPECT_EQ(after.op_counts,
            (std::map<std::string, int64_t>{{"Conv", 2}, {"Add", 1}, {"Reshape", 1}}));
  EXPECT_EQ(after.inputs.size(), 1U);
  EXPECT_EQ(after.outputs.at(0).name, "y");
  EXPECT_EQ(after.initializer_count, 2);
  EXPECT_THAT(after.warnings, IsEmpty());
}

TEST(Clean, ReportsWhatItRemoved) {
  onnx::CleanReport report;
  onnx::clean_bytes(cluttered_model().bytes(), &report);
  EXPECT_EQ(report.nodes_before, 17);
  EXPECT_EQ(report.nodes_after, 4);
  EXPECT_EQ(report.removed.at("Identity"), 2);
  EXPECT_LT(report.bytes_after, report.bytes_before);
}

TEST(Clean, KeepsQuantizersEvenWithConstantOperands) {
  OnnxModel model(13);
  model.input("x", {1, 3});
  model.tensor<int8_t>("codes", {3}, {-9, 2, 3}, ::onnx::TensorProto::INT8);
  model.tensor<int8_t>("low", {}, {-8}, ::onnx::TensorProto::INT8);
  model.tensor<int8_t>("high", {}, {7}, ::onnx::TensorProto::INT8);
  model.tensor<int8_t>("zero", {}, {0}, ::onnx::TensorProto::INT8);
  model.floats("scale", {}, {0.5F});
  model.node("Clip", {"codes", "low", "high"}, {"clipped"});
  model.node("DequantizeLinear", {"clipped", "scale", "zero"}, {"w"});
  model.node("Identity", {"w"}, {"w1"});
  model.node("Mul", {"x", "w1"}, {"m"});
  model.node("QuantizeLinear", {"m", "scale", "zero"}, {"unused_codes"});
  model.node("Relu", {"m"}, {"y"});
  model.output("y", {1, 3});
  const onnx::CheckReport after = expect_clean_keeps_outputs(model.bytes());
  EXPECT_EQ(count(after, "Identity"), 0);
  EXPECT_EQ(count(after, "QuantizeLinear"), 1);
}

// 4-bit codes in int32_data, one byte an entry, go to raw_data and keep their values.
TEST(Clean, KeepsPackedCodes) {
  OnnxModel model(21);
  model.proto.set_ir_version(10);
  model.input("x", {5});
  auto& codes = model.tensor<int8_t>("codes", {5}, {}, ::onnx::TensorProto::INT4);
  codes.clear_raw_data();
  for (const int byte : {0x81, 0x7F, 0x03}) codes.add_int32_data(byte);  // 1 -8 -1 7 3
  model.floats("scale", {}, {0.5F});
  model.node("DequantizeLinear", {"codes", "scale"}, {"w"});
  model.node("Add", {"x", "w"}, {"y"});
  model.output("y", {5});
  const std::string cleaned = onnx::clean_bytes(model.bytes());
  EXPECT_THAT(onnx::check_bytes(cleaned).warnings, IsEmpty());
  const Tensor zero(DType::kFloat32, {5});
  const Tensor sum = runtime::Session::from_bytes(cleaned, {}).run({zero}).at(0);
  EXPECT_THAT(sum.data<float>(), testing::ElementsAre(0.5F, -4.0F, -0.5F, 3.5F, 1.5F));
}

TEST(Clean, OutputsKeepTheirNamesWhereNodesCannotGo) {
  OnnxModel model;
  model.input("x", {2});
  model.floats("c", {2}, {1, 2});
  model.node("Identity", {"x"}, {"a"});  // output is an input
  model.node("Identity", {"c"}, {"b"});  // output is an initializer
  model.node("Relu", {"x"}, {"r"});
  model.node("Identity", {"r"}, {"d"});  // two outputs of one value
  model.node("Identity", {"r"}, {"e"});
  for (const char* name : {"a", "b", "d", "e"}) model.output(name, {2});
  const onnx::CheckReport after = expect_clean_keeps_outputs(model.bytes());
  EXPECT_EQ(after.outputs.size(), 4U);
}

TEST(Clean, LeavesValuesOfNestedGraphsAlone) {
  OnnxModel model;
  model.input("x", {2});
  model.input("choice", {}, ::onnx::TensorProto::BOOL);
  model.node("Relu", {"x"}, {"r"});
  model.node("Identity", {"r"}, {"inside"});
  auto& branch = model.node("If", {"choice"}, {"y"});
  for (const char* name : {"then_branch", "else_branch"}) {
    auto* attribute = branch.add_attribute();
    attribute->set_name(name);
    attribute->set_type(::onnx::AttributeProto::GRAPH);
    auto* inner = attribute->mutable_g();
    inner->set_name(name);
    auto* node = inner->add_node();
    node->set_op_type("Neg");
    node->add_input("inside");
    node->add_output(std::string(name) + "_out");
    model.value(inner->add_output(), std::string(name) + "_out", {2});
  }
  model.output("y", {2});
  expect_clean_keeps_outputs(model.bytes());
}

TEST(Read, WritingWhatWasReadGivesTheSameOutputs) {
  const test::TemporaryFolder folder;
  for (const Head head : {Head::kOneToMany, Head::kOneToOne}) {
    for (const bool dynamic : {false, true}) {
      const Graph graph = test::formula_graph("yolov10n", head, 64, 96);
      onnx::write(graph, folder / "a.onnx", {.dynamic = dynamic});
      const Graph back = onnx::read(folder / "a.onnx");
      onnx::write(back, folder / "b.onnx");
      const Tensor image = model::formula_tensor("images", {1, 3, 64, 96});
      const auto report = runtime::diff(folder / "a.onnx", folder / "b.onnx", {image}, kPlain);
      EXPECT_TRUE(report.comparable());
      EXPECT_EQ(report.max_abs(), 0.0);
    }
  }
}

TEST(Read, BatchNormIsReadAndFoldsLater) {
  Graph graph = model::build(model::load_definition("yolov10n.yaml"), 64, 64);
  model::set_formula_parameters(graph);
  graph = keep_head(graph, Head::kOneToMany);
  const test::TemporaryFolder folder;
  onnx::write(graph, folder / "a.onnx");
  const Graph back = onnx::read(folder / "a.onnx");
  EXPECT_EQ(conv_names(back), conv_names(graph));
  onnx::write(for_inference(back, Head::kOneToMany), folder / "b.onnx");
  const auto report = runtime::diff(folder / "a.onnx", folder / "b.onnx", {}, kPlain);
  EXPECT_LT(report.outputs.at(0).max_relative, 1e-4);
  EXPECT_EQ(count(onnx::check(folder / "b.onnx"), "BatchNormalization"), 0);
}

}  // namespace
}  // namespace yoloquant
