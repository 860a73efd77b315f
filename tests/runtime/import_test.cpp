#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "exec/executor.h"
#include "onnx/reader.h"
#include "onnx/writer.h"
#include "runtime/opaque.h"
#include "runtime/session.h"
#include "support/onnx_models.h"

// Single operators: read from a file, run by the executor and written again, against ONNX Runtime
// on the file itself.
namespace yoloquant {
namespace {

using test::OnnxModel;
using testing::HasSubstr;

constexpr int64_t kChannels = 4;

Tensor image() {
  Random random(3);
  Tensor tensor(DType::kFloat32, {1, kChannels, 6, 5});
  for (float& value : tensor.mutable_data<float>()) value = random.uniform(-2, 2);
  return tensor;
}

std::vector<Tensor> run(const std::string& bytes) {
  const runtime::SessionOptions options{.provider = runtime::Provider::kCpu, .threads = 1};
  return runtime::Session::from_bytes(bytes, options).run({image()});
}

void expect_near(const Tensor& actual, const Tensor& expected) {
  ASSERT_EQ(actual.dtype(), expected.dtype());
  ASSERT_EQ(actual.shape(), expected.shape());
  if (expected.dtype() != DType::kFloat32) {
    EXPECT_TRUE(equal(actual, expected));
    return;
  }
  for (int64_t i = 0; i < expected.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    ASSERT_NEAR(actual.data<float>()[at], expected.data<float>()[at], 1e-5) << i;
  }
}

// A model on x [1, 4, 6, 5] whose last nodes make the outputs.
struct Subject : OnnxModel {
  explicit Subject(int64_t opset = 17) : OnnxModel(opset) { input("x", {1, kChannels, 6, 5}); }

  graph::Graph graph() {
    return onnx::read_bytes(bytes(), {.compile = runtime::opaque_function}, &report);
  }

  void expect_same(const std::vector<std::string>& outputs, int64_t opaque = 0) {
    for (const std::string& name : outputs) OnnxModel::graph().add_output()->set_name(name);
    const std::vector<Tensor> expected = run(bytes());
    const graph::Graph read = graph();
    exec::Executor executor(read, {.device = "cpu"});
    const auto simulated = executor.run(std::vector<Tensor>{image()});
    const auto written = run(onnx::serialize(read));
    for (size_t i = 0; i < expected.size(); ++i) {
      SCOPED_TRACE(outputs[i]);
      expect_near(simulated.at(i), expected[i]);
      expect_near(written.at(i), expected[i]);
    }
    int64_t kept = 0;
    for (const auto& [op, count] : report.opaque) kept += count;
    EXPECT_EQ(kept, opaque);
  }

  onnx::ReadReport report;
};

TEST(Import, Slices) {
  Subject s;
  s.ints("starts", {1, -4});
  s.ints("ends", {INT64_MAX, -1});
  s.ints("axes", {2, -1});
  s.ints("steps", {2, 1});
  s.node("Slice", {"x", "starts", "ends", "axes", "steps"}, {"part"});
  s.ints("last", {-1});
  s.ints("first", {INT64_MIN});
  s.ints("axis", {3});
  s.node("Slice", {"x", "last", "first", "axis", "last"}, {"backwards"});
  s.expect_same({"part", "backwards"}, 1);
}

TEST(Import, ReductionsOfOldAndNewOpsets) {
  for (const int64_t opset : {11, 13, 18}) {
    Subject s(opset);
    s.ints("axes", {-1, 1});
    for (const char* op : {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"}) {
      const bool as_input = opset >= 18 || (opset >= 13 && std::string(op) == "ReduceSum");
      auto& node = as_input ? s.node(op, {"x", "axes"}, {op}) : s.node(op, {"x"}, {op});
      if (!as_input) OnnxModel::attribute(node, "axes", std::vector<int64_t>{-1, 1});
      OnnxModel::attribute(node, "keepdims", int64_t{std::string(op) == "ReduceMin" ? 1 : 0});
    }
    s.node("ReduceMean", {"x"}, {"all"});
    s.node("GlobalAveragePool", {"x"}, {"pooled"});
    s.expect_same({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "all", "pooled"});
  }
}

// As an end-to-end head: indices, their quotient and remainder, and what they point at.
TEST(Import, TopKAndWhatFollows) {
  Subject s;
  s.ints("k", {5});
  s.ints("shape", {1, 24, 5});
  s.ints("width", {5});
  s.ints("repeats", {1, 1, 5});
  s.ints("two", {2});
  s.node("Reshape", {"x", "shape"}, {"rows"});
  auto& best = s.node("ReduceMax", {"rows"}, {"best"});
  OnnxModel::attribute(best, "axes", std::vector<int64_t>{2});
  OnnxModel::attribute(best, "keepdims", int64_t{0});
  s.node("TopK", {"best", "k"}, {"scores", "index"});
  s.node("Unsqueeze", {"index", "two"}, {"column"});
  s.node("Tile", {"column", "repeats"}, {"wide"});
  OnnxModel::attribute(s.node("GatherElements", {"rows", "wide"}, {"chosen"}), "axis", int64_t{1});
  s.node("Div", {"index", "width"}, {"quotient"});
  s.node("Mod", {"index", "width"}, {"remainder"});
  OnnxModel::attribute(s.node("Cast", {"remainder"}, {"label"}), "to", int64_t{1});
  s.ints("pick", {3, -1});
  OnnxModel::attribute(s.node("Gather", {"chosen", "pick"}, {"picked"}), "axis", int64_t{1});
  s.expect_same({"scores", "index", "chosen", "quotient", "label", "picked"});
}

TEST(Import, ShapesAndBroadcasts) {
  Subject s;
  s.ints("shape", {2, 4, 6, 5});
  s.floats("two", {}, {2});
  s.floats("vector", {5}, {1, -1, 0.5F, 3, 2});
  s.floats("matrix", {5, 3}, std::vector<float>(15, 0.25F));
  s.node("Expand", {"x", "shape"}, {"expanded"});
  OnnxModel::attribute(s.node("Flatten", {"x"}, {"flat"}), "axis", int64_t{2});
  s.node("Squeeze", {"x"}, {"squeezed"});
  s.node("Transpose", {"squeezed"}, {"turned"});
  s.node("Pow", {"x", "two"}, {"squares"});
  s.node("Max", {"x", "vector"}, {"larger"});
  s.node("Min", {"vector", "x"}, {"smaller"});
  s.node("MatMul", {"x", "matrix"}, {"product"});
  s.expect_same(
      {"expanded", "flat", "squeezed", "turned", "squares", "larger", "smaller", "product"});
}

TEST(Import, ConvsWithAutomaticPadding) {
  for (const char* mode : {"SAME_UPPER", "SAME_LOWER"}) {
    Subject s;
    s.floats("w", {2, kChannels, 3, 2}, std::vector<float>(48, 0.1F));
    auto& conv = s.node("Conv", {"x", "w"}, {"y"});
    OnnxModel::attribute(conv, "strides", std::vector<int64_t>{2, 1});
    auto* pad = conv.add_attribute();
    pad->set_name("auto_pad");
    pad->set_type(::onnx::AttributeProto::STRING);
    pad->set_s(mode);
    s.expect_same({"y"});
  }
}

// Operators and variants that the graph does not have, one behind the other, with constants of
// several types, a left-out input, an own domain and several outputs.
TEST(Import, OpaqueNodesAreRunAndWritten) {
  Subject s;
  auto* own = s.proto.add_opset_import();
  own->set_domain("com.microsoft");
  own->set_version(1);
  s.floats("high", {}, {1.5F});
  s.node("Clip", {"x", "", "high"}, {"clipped"});
  s.node("Gelu", {"clipped"}, {"gelu"}).set_domain("com.microsoft");
  s.node("Sigmoid", {"gelu"}, {"gate"});
  s.node("Greater", {"gate", "high"}, {"never"});
  s.node("Where", {"never", "x", "gate"}, {"either"});
  OnnxModel::attribute(s.node("ArgMax", {"either"}, {"arg"}), "axis", int64_t{1});
  s.node("Exp", {"either"}, {"exp"});
  auto& pool = s.node("MaxPool", {"exp"}, {"pooled"});
  OnnxModel::attribute(pool, "kernel_shape", std::vector<int64_t>{2, 2});
  OnnxModel::attribute(pool, "strides", std::vector<int64_t>{4, 4});
  OnnxModel::attribute(pool, "ceil_mode", int64_t{1});
  s.expect_same({"gelu", "arg", "pooled", "never"}, 7);
}

// Computed where the reader itself cannot: a weight that is transposed in the file.
TEST(Import, ConstantsAreComputed) {
  Subject s;
  s.floats("w", {kChannels, 3, 1, 1}, std::vector<float>(12, 0.5F));
  OnnxModel::attribute(s.node("Transpose", {"w"}, {"turned"}), "perm",
                       std::vector<int64_t>{1, 0, 2, 3});
  s.node("Sqrt", {"turned"}, {"root"});
  s.node("Conv", {"x", "root"}, {"y"});
  s.expect_same({"y"});
  EXPECT_EQ(conv_names(s.graph()).size(), 1U);
}

TEST(Import, SizesThatDependOnDataAndBadDivisorsAreErrors) {
  Subject s;
  s.node("NonZero", {"x"}, {"y"});
  s.proto.mutable_graph()->add_output()->set_name("y");
  EXPECT_THROW(s.graph(), Error);
  Subject zero;
  zero.ints("one", {1});
  zero.ints("zero", {0});
  zero.node("Div", {"one", "zero"}, {"shape"});
  zero.node("Reshape", {"x", "shape"}, {"y"});
  zero.proto.mutable_graph()->add_output()->set_name("y");
  EXPECT_THROW(zero.graph(), Error);
}

TEST(Import, AnOlderOperatorIsNotWrittenAsANewerOne) {
  Subject s(11);
  OnnxModel::attribute(s.node("ReduceProd", {"x"}, {"y"}), "axes", std::vector<int64_t>{1});
  s.proto.mutable_graph()->add_output()->set_name("y");
  const graph::Graph read = s.graph();
  EXPECT_NO_THROW(onnx::serialize(read, {.opset = 13}));
  try {
    onnx::serialize(read, {.opset = 18});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("ReduceProd of opset 11"));
  }
}

}  // namespace
}  // namespace yoloquant
