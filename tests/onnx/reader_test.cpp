#include "onnx/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "onnx/clean.h"
#include "onnx/metadata.h"
#include "onnx/writer.h"
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
  try {
    read_bytes(bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
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

TEST(Reader, NamesNodeAndOperatorOfWhatItCannotExpress) {
  OnnxModel model;
  model.input("x", {1, 3, 8, 8});
  model.node("LRN", {"x"}, {"y"});
  model.output("y", {1, 3, 8, 8});
  EXPECT_THAT(error_of(model.bytes()), HasSubstr("node 'node_y' (LRN)"));
  EXPECT_THAT(error_of(model.bytes()), HasSubstr("not supported"));
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
