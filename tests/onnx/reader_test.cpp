#include "onnx/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "onnx/check.h"
#include "onnx/clean.h"
#include "onnx/metadata.h"
#include "onnx/writer.h"
#include "support/error_of.h"
#include "support/models.h"
#include "support/onnx_models.h"

namespace yoloquant::onnx {
namespace {

using graph::Graph;
using graph::Head;
using test::OnnxModel;
using testing::HasSubstr;

std::map<std::string, int> counts(const Graph& graph) {
  std::map<std::string, int> result;
  for (const auto& node : graph.nodes) ++result[std::string(operator_name(node.op))];
  return result;
}

std::string error_of(const std::string& bytes) {
  return test::error_of([&] { read_bytes(bytes); });
}

TEST(Reader, GivesTheGraphThatWasWritten) {
  const Graph graph = test::formula_graph("yolov10s", Head::kOneToMany);
  const Graph back = read_bytes(serialize(graph));
  EXPECT_EQ(conv_names(back), conv_names(graph));
  for (const std::string& name : conv_names(graph)) {
    EXPECT_TRUE(equal(back.parameter(name + ".weight"), graph.parameter(name + ".weight"))) << name;
    EXPECT_EQ(back.find_node(name)->op.index(), graph.find_node(name)->op.index());
  }
  auto expected = counts(graph);
  expected.erase("anchor_grid");  // constants of a fixed size in the file
  expected["constant"] += 2;
  EXPECT_EQ(counts(back), expected);
  EXPECT_EQ(back.values[back.outputs[0]].name, "output0");
  EXPECT_EQ(back.values[back.outputs[0]].shape, graph.values[graph.outputs[0]].shape);
}

TEST(Reader, BringsMetadataBack) {
  Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  graph.metadata.names = {{0, "it's"}, {1, "a \"b\" 'c'\n"}, {7, "caf\xc3\xa9 \\"}};
  graph.metadata.description = "mine";
  const Graph back = read_bytes(serialize(graph));
  EXPECT_EQ(back.metadata.names, graph.metadata.names);
  EXPECT_EQ(back.metadata.strides, (std::vector<int64_t>{8, 16, 32}));
  EXPECT_EQ(back.metadata.description, "mine");
}

TEST(Reader, NamesThatAreNoDictAreErrors) {
  for (const char* text : {"", "{", "{0}", "{0: person}", "{0: 'a'", "{0: 'a'} x", "{-1: 'a'}",
                           "{0: 'a' 1: 'b'}", "{99999999999999999999: 'a'}", "{0: '\\x4"}) {
    EXPECT_THROW(parse_names(text), Error) << text;
  }
  EXPECT_TRUE(parse_names("{}").empty());
}

TEST(Reader, DynamicFilesGetTheSizeOfTheirExport) {
  const Graph graph = test::formula_graph("yolov10n", Head::kOneToMany, 64, 96);
  const std::string bytes = serialize(graph, {.dynamic = true});
  const Graph back = read_bytes(bytes);
  EXPECT_EQ(back.values[back.inputs[0]].shape, Shape({1, 3, 64, 96}));
  EXPECT_EQ(back.values[back.outputs[0]].shape, Shape({1, 84, 126}));
  const Graph larger = read_bytes(bytes, {.input_shape = Shape{2, 3, 128, 128}});
  EXPECT_EQ(larger.values[larger.outputs[0]].shape, Shape({2, 84, 336}));
}

TEST(Reader, Float16WeightsBecomeFloat32) {
  const Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  const Graph back = read_bytes(serialize(graph, {.precision = Precision::kFloat16}));
  EXPECT_EQ(conv_names(back), conv_names(graph));
  EXPECT_EQ(back.values[back.outputs[0]].name, "output0");
  for (const auto& [name, tensor] : back.parameters) EXPECT_EQ(tensor.dtype(), DType::kFloat32);
}

TEST(Reader, RefusesQuantizedFiles) {
  Graph graph = test::formula_graph("yolov10n", Head::kOneToMany);
  test::annotate(graph, 8, true);
  EXPECT_THAT(error_of(serialize(graph)), HasSubstr("quantized already"));
}

// What one node makes of x [1, 3, 8, 8], with nothing to run it.
std::string error_of_node(const std::string& op, const std::function<void(OnnxModel&)>& more = {}) {
  OnnxModel model;
  model.input("x", {1, 3, 8, 8});
  model.node(op, {"x"}, {"y"});
  model.graph().add_output()->set_name("y");
  if (more) more(model);
  return error_of(model.bytes());
}

TEST(Reader, NamesNodeAndOperatorOfWhatItCannotHold) {
  EXPECT_THAT(error_of_node("LRN"), HasSubstr("node 'node_y' (LRN)"));
  EXPECT_THAT(error_of_node("LRN"), HasSubstr("does not declare the shape"));
  EXPECT_THAT(error_of_node("Loop",
                            [](OnnxModel& m) {
                              auto* body = m.graph().mutable_node(0)->add_attribute();
                              body->set_name("body");
                              body->set_type(::onnx::AttributeProto::GRAPH);
                              body->mutable_g()->add_output()->set_name("x");
                            }),
              HasSubstr("graphs inside"));
  EXPECT_THAT(
      error_of_node("Gelu",
                    [](OnnxModel& m) { m.graph().mutable_node(0)->set_domain("com.microsoft"); }),
      HasSubstr("which version of domain"));
  EXPECT_THAT(error_of_node("Conv"), HasSubstr("input 1 is missing"));
  EXPECT_THAT(error_of_node("Transpose",
                            [](OnnxModel& m) {
                              OnnxModel::attribute(*m.graph().mutable_node(0), "perm",
                                                   std::vector<int64_t>{0, 1, 1, 2});
                            }),
              HasSubstr("no permutation"));
  EXPECT_THAT(error_of_node("Squeeze",
                            [](OnnxModel& m) {
                              m.ints("axes", {9});
                              m.graph().mutable_node(0)->add_input("axes");
                            }),
              HasSubstr("no axis 9"));
  EXPECT_THAT(error_of_node("Tile",
                            [](OnnxModel& m) {
                              const int64_t huge = INT64_MAX;
                              m.ints("repeats", {1, huge, huge, 1});
                              m.graph().mutable_node(0)->add_input("repeats");
                            }),
              HasSubstr("repeats"));
  EXPECT_THAT(error_of_node("TopK",
                            [](OnnxModel& m) {
                              m.ints("k", {9});
                              m.graph().mutable_node(0)->add_input("k");
                              m.graph().mutable_node(0)->add_output("i");
                            }),
              HasSubstr("the largest 9"));
}

TEST(Reader, KeepsNodesWhoseShapesTheFileDeclares) {
  OnnxModel model;
  model.input("x", {1, 3, 8, 8});
  OnnxModel::attribute(model.node("LRN", {"x"}, {"y"}), "size", int64_t{3});
  model.output("y", {1, 3, 8, 8});
  ReadReport report;
  const Graph graph = read_bytes(model.bytes(), {}, &report);
  EXPECT_EQ(report.opaque, (std::map<std::string, int64_t>{{"LRN", 1}}));
  const CheckReport check = check_bytes(serialize(graph));
  EXPECT_EQ(check.op_counts.at("LRN"), 1);
  EXPECT_EQ(check.opset, 17);
}

TEST(Reader, NamesConvsByModulePath) {
  OnnxModel model;
  model.input("x", {1, 1, 8, 8});
  model.floats("onnx::Conv_7", {1, 1, 1, 1}, {1});
  model.floats("w.weight", {1, 1, 1, 1}, {1});
  model.node("Conv", {"x", "onnx::Conv_7"}, {"a"}).set_name("/model.2/m/m.0/cv1/conv/Conv");
  model.node("Conv", {"a", "onnx::Conv_7"}, {"b"}).set_name("/model.2/m/m.0/cv1/conv/Conv_1");
  model.node("Conv", {"b", "w.weight"}, {"c"}).set_name("/model.3/Conv");
  model.node("Conv", {"c", "onnx::Conv_7"}, {"d"}).set_name("Conv_12");
  model.output("d", {1, 1, 8, 8});
  EXPECT_THAT(
      conv_names(read_bytes(model.bytes())),
      testing::ElementsAre("model.2.m.0.cv1.conv", "model.2.m.0.cv1.conv_1", "w", "Conv_12"));
}

// A detector block as tracing exporters write it: sizes computed in the file, Constant nodes,
// Identity, HardSigmoid, Split by attribute, Reshape to computed sizes.
TEST(Reader, UnderstandsWhatTracingExportersWrite) {
  OnnxModel model;
  model.input("x", {1, 4, 8, 8});
  model.floats("stem.weight", {4, 4, 1, 1}, std::vector<float>(16, 0.5F));
  model.node("Conv", {"x", "stem.weight"}, {"c"});
  model.node("HardSigmoid", {"c"}, {"gate"});
  auto* slope = model.graph().mutable_node(1)->add_attribute();
  slope->set_name("alpha");
  slope->set_type(::onnx::AttributeProto::FLOAT);
  slope->set_f(1.0F / 6.0F);
  model.node("Mul", {"gate", "c"}, {"h"});
  model.node("Identity", {"h"}, {"i"});
  auto& shape = model.node("Shape", {"i"}, {"shape"});
  OnnxModel::attribute(shape, "start", int64_t{-4});
  OnnxModel::attribute(shape, "end", int64_t{1});
  auto& zero = model.node("Constant", {}, {"zero"});
  OnnxModel::attribute(zero, "value_ints", std::vector<int64_t>{0});
  model.node("Gather", {"shape", "zero"}, {"batch"});
  model.ints("rest", {4, -1});
  OnnxModel::attribute(model.node("Concat", {"batch", "rest"}, {"target"}), "axis", int64_t{0});
  model.node("Reshape", {"i", "target"}, {"flat"});
  OnnxModel::attribute(model.node("Split", {"flat"}, {"a", "b"}), "axis", int64_t{1});
  model.node("Sigmoid", {"a"}, {"s"});
  model.node("Mul", {"a", "s"}, {"silu"});
  model.node("Add", {"silu", "b"}, {"y"});
  model.output("y", {1, 2, 64});
  const Graph graph = read_bytes(model.bytes());
  EXPECT_EQ(
      counts(graph),
      (std::map<std::string, int>{
          {"conv", 1}, {"hard_swish", 1}, {"reshape", 1}, {"split", 1}, {"silu", 1}, {"add", 1}}));
  EXPECT_NE(graph.find_node("stem"), nullptr);
  EXPECT_EQ(graph.values[graph.outputs[0]].shape, Shape({1, 2, 64}));
}

TEST(Reader, HugeWindowsAndSizesAreErrors) {
  for (const char* name : {"pads", "strides", "dilations"}) {
    OnnxModel model;
    model.input("x", {1, 1, 8, 8});
    model.floats("w.weight", {1, 1, 1, 1}, {1});
    const int64_t huge = INT64_MAX;
    OnnxModel::attribute(model.node("Conv", {"x", "w.weight"}, {"y"}), name,
                         std::string(name) == "pads" ? std::vector<int64_t>{huge, huge, huge, huge}
                                                     : std::vector<int64_t>{huge, huge});
    model.output("y", {1, 1, 8, 8});
    EXPECT_THAT(error_of(model.bytes()), HasSubstr(name));
  }
  OnnxModel doubling;  // each Concat doubles the extent
  doubling.input("x0", {1, 1, 8, 8});
  for (int i = 0; i < 80; ++i) {
    const std::string from = "x" + std::to_string(i);
    OnnxModel::attribute(doubling.node("Concat", {from, from}, {"x" + std::to_string(i + 1)}),
                         "axis", int64_t{1});
  }
  doubling.output("x80", {1});
  EXPECT_THAT(error_of(doubling.bytes()), HasSubstr("too large"));
}

}  // namespace
}  // namespace yoloquant::onnx
