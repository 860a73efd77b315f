#include "onnx/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "onnx/check.h"
#include "support/models.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::onnx {
namespace {

using graph::Branches;
using graph::Graph;
using graph::Head;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> shape_text(const ValueDescription& value) {
  std::vector<std::string> result;
  for (const auto& dim : value.shape) {
    result.push_back(dim.size ? std::to_string(*dim.size) : dim.symbol);
  }
  return result;
}

CheckReport report_of(const Graph& graph, const WriteOptions& options = {}) {
  return check_bytes(serialize(graph, options));
}

// Python's onnx on all files of a folder.
void expect_valid(const std::filesystem::path& folder) {
  if (test::python().empty()) GTEST_SKIP() << "needs the Python of scripts/setup.sh";
  std::string output;
  const auto script = test::source_folder() / "tests" / "onnx" / "check_files.py";
  EXPECT_EQ(test::run_command(
                fmt::format("{} {} {}", test::python(), script.string(), folder.string()), &output),
            0)
      << output;
}

TEST(Writer, NamesInputsOutputsNodesAndWeights) {
  const Graph graph = test::formula_graph("yolov10n", Head::kOneToMany, 64, 96);
  const CheckReport report = report_of(graph);
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_THAT(report.warnings, IsEmpty());
  ASSERT_EQ(report.inputs.size(), 1U);
  ASSERT_EQ(report.outputs.size(), 1U);
  EXPECT_EQ(report.inputs[0].name, "images");
  EXPECT_EQ(report.inputs[0].dtype, "float32");
  EXPECT_THAT(shape_text(report.inputs[0]), ElementsAre("1", "3", "64", "96"));
  EXPECT_EQ(report.outputs[0].name, "output0");
  EXPECT_EQ(report.outputs[0].dtype, "float32");
  EXPECT_THAT(shape_text(report.outputs[0]), ElementsAre("1", "84", "126"));
  EXPECT_EQ(report.opset, 13);
  EXPECT_EQ(report.ir_version, 7);
  EXPECT_THAT(report.producer, HasSubstr("yoloquant"));
  EXPECT_EQ(report.op_counts.at("Conv"), static_cast<int64_t>(conv_names(graph).size()));
  EXPECT_FALSE(report.op_counts.contains("Constant"));
  EXPECT_FALSE(report.op_counts.contains("Identity"));
  const std::string bytes = serialize(graph);
  EXPECT_THAT(bytes, HasSubstr("model.0.conv.weight"));
  EXPECT_THAT(bytes, HasSubstr("model.23.cv2.0.0.conv.bias"));
}

TEST(Writer, WritesUltralyticsMetadata) {
  Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  graph.metadata.names = {{0, "person"}, {1, "it's"}, {2, "a \"b\" 'c'"}};
  graph.metadata.description = "YOLOv10n";
  const auto metadata = report_of(graph).metadata;
  EXPECT_EQ(metadata.at("names"), R"({0: 'person', 1: "it's", 2: 'a "b" \'c\''})");
  EXPECT_EQ(metadata.at("stride"), "32");
  EXPECT_EQ(metadata.at("task"), "detect");
  EXPECT_EQ(metadata.at("batch"), "1");
  EXPECT_EQ(metadata.at("imgsz"), "[64, 64]");
  EXPECT_EQ(metadata.at("description"), "YOLOv10n");
}

TEST(Writer, CountsOfTheContract) {
  Graph graph = test::formula_graph("yolov10m", Head::kOneToMany, 64, 64, Branches::kKeep);
  for (const int bits : {8, 4}) {
    test::annotate(graph, bits, false);
    const CheckReport a16 = report_of(graph);
    EXPECT_THAT(a16.problems, IsEmpty());
    EXPECT_EQ(a16.op_counts.at("Conv"), 118);
    EXPECT_FALSE(a16.op_counts.contains("QuantizeLinear"));
    EXPECT_EQ(a16.op_counts.at("DequantizeLinear"), 118);
    EXPECT_EQ(a16.op_counts.at("Clip"), 118);
    test::annotate(graph, bits, true);
    const CheckReport a8 = report_of(graph);
    EXPECT_EQ(a8.op_counts.at("QuantizeLinear"), 118);
    EXPECT_EQ(a8.op_counts.at("DequantizeLinear"), 236);
    EXPECT_EQ(a8.op_counts.at("Clip"), 118);
    for (auto& [name, annotation] : graph.quantization) annotation.input.reset();
  }
}

TEST(Writer, QuantizedFilesAreAQuarterOfFloat) {
  Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  const auto plain = static_cast<double>(serialize(graph).size());
  test::annotate(graph, 8, false);
  EXPECT_LT(static_cast<double>(serialize(graph).size()), 0.35 * plain);
}

TEST(Writer, FilesOfAllKindsAreValid) {
  const test::TemporaryFolder folder;
  for (const Head head : {Head::kOneToMany, Head::kEndToEnd}) {
    Graph graph = test::formula_graph("yolov10n", head);
    for (const bool quantized : {false, true}) {
      if (quantized) test::annotate(graph, 4, true);
      for (const Precision precision : {Precision::kFloat32, Precision::kFloat16}) {
        for (const bool dynamic : {false, true}) {
          const std::string name =
              fmt::format("{}-{}-{}-{}.onnx", head_name(head), quantized ? "w4a8" : "float",
                          precision_name(precision), dynamic ? "dynamic" : "static");
          write(graph, folder / name, {.precision = precision, .dynamic = dynamic});
          EXPECT_THAT(check(folder / name).problems, IsEmpty()) << name;
        }
      }
    }
  }
  expect_valid(folder.path());
}

TEST(Writer, Int4FilesAreValidAndSmall) {
  const test::TemporaryFolder folder;
  Graph graph = test::formula_graph("yolov10n", Head::kOneToMany, 64, 64, Branches::kKeep);
  const auto plain = static_cast<double>(serialize(graph).size());
  test::annotate(graph, 4, true);
  // 2 bits, 8 bits and unsigned 4 bits among them.
  graph.quantization.at("model.1.conv").weight->qmin = -2;
  graph.quantization.at("model.1.conv").weight->qmax = 1;
  graph.quantization.at("model.2.cv1.conv").weight->qmin = -128;
  graph.quantization.at("model.2.cv1.conv").weight->qmax = 127;
  graph.quantization.at("model.23.dfl.conv").weight->qmin = 0;
  graph.quantization.at("model.23.dfl.conv").weight->qmax = 15;
  for (const Precision precision : {Precision::kFloat32, Precision::kFloat16}) {
    const auto path = folder / fmt::format("{}.onnx", precision_name(precision));
    write(graph, path, {.precision = precision, .opset = 21, .layout = Layout::kInt4});
    const CheckReport report = check(path);
    EXPECT_THAT(report.problems, IsEmpty());
    EXPECT_EQ(report.ir_version, 10);
    EXPECT_EQ(report.initializer_bytes.at("uint4"), 8);  // 16 codes
    EXPECT_EQ(report.initializer_bytes.at("int8"),
              graph.parameter("model.2.cv1.conv.weight").size());
    EXPECT_FALSE(report.op_counts.contains("Clip"));
    EXPECT_LT(static_cast<double>(report.file_bytes), 0.17 * plain);
  }
  expect_valid(folder.path());
}

TEST(Writer, Int4NeedsOpset21) {
  const Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  EXPECT_THROW(serialize(graph, {.opset = 20, .layout = Layout::kInt4}), Error);
  EXPECT_THROW(parse_layout("int5"), Error);
}

class EveryOpset : public testing::TestWithParam<int> {};

TEST_P(EveryOpset, IsValid) {
  const test::TemporaryFolder folder;
  Graph graph = test::formula_graph("yolov10n", Head::kEndToEnd);
  test::annotate(graph, 8, true);
  for (const Precision precision : {Precision::kFloat32, Precision::kFloat16}) {
    const auto path = folder / fmt::format("{}.onnx", precision_name(precision));
    write(graph, path, {.precision = precision, .opset = GetParam(), .dynamic = true});
    EXPECT_THAT(check(path).problems, IsEmpty());
    EXPECT_EQ(check(path).opset, GetParam());
  }
  expect_valid(folder.path());
}

INSTANTIATE_TEST_SUITE_P(Opset, EveryOpset, testing::Range(kMinOpset, kMaxOpset + 1),
                         [](const auto& opset) { return std::to_string(opset.param); });

TEST(Writer, DynamicFilesHaveSymbolsAndNoSizes) {
  const Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  const CheckReport raw = report_of(graph, {.dynamic = true});
  EXPECT_THAT(shape_text(raw.inputs[0]), ElementsAre("batch", "3", "height", "width"));
  EXPECT_THAT(shape_text(raw.outputs[0]), ElementsAre("batch", "84", "anchors"));
  const Graph selected = test::formula_graph("yolov10n", Head::kEndToEnd);
  const CheckReport end2end = report_of(selected, {.dynamic = true});
  EXPECT_THAT(shape_text(end2end.outputs[0]), ElementsAre("batch", "detections", "6"));
}

TEST(Writer, UnfoldedBatchNormIsWrittenAsSuch) {
  Graph graph = model::build(model::load_definition("yolov10n.yaml"), 64, 64);
  model::set_formula_parameters(graph);
  graph = keep_head(graph, Head::kOneToMany);
  EXPECT_GT(report_of(graph).op_counts.at("BatchNormalization"), 70);
  const test::TemporaryFolder folder;
  write(graph, folder / "unfolded.onnx");
  expect_valid(folder.path());
}

TEST(Writer, Float16RefusesWeightsBeyondItsRange) {
  Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  graph.parameters.at("model.0.conv.weight").mutable_data<float>()[0] = 1e6F;
  try {
    serialize(graph, {.precision = Precision::kFloat16});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.0.conv.weight"));
    EXPECT_THAT(error.what(), HasSubstr("float16"));
  }
}

TEST(Writer, RefusesOpsetsItDoesNotKnow) {
  const Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  EXPECT_THROW(serialize(graph, {.opset = 12}), Error);
  EXPECT_THROW(serialize(graph, {.opset = 22}), Error);
}

TEST(Writer, NarrowInputRangesAreClipped) {
  Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  test::annotate(graph, 8, true);
  auto& input = *graph.quantization.at("model.0.conv").input;
  input = {.bits = 4, .qmin = 0, .qmax = 15, .axis = -1, .scale = {0.1F}, .zero_point = {0}};
  const CheckReport report = report_of(graph);
  EXPECT_EQ(report.op_counts.at("Clip"), report.op_counts.at("Conv") + 1);
  EXPECT_THAT(report.problems, IsEmpty());
}

}  // namespace
}  // namespace yoloquant::onnx
