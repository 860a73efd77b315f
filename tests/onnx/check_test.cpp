#include "onnx/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "onnx/clean.h"
#include "onnx/reader.h"
#include "onnx/writer.h"
#include "support/models.h"
#include "support/onnx_models.h"
#include "support/temporary_folder.h"

namespace yoloquant::onnx {
namespace {

using test::OnnxModel;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// x -> Mul(w) -> Relu -> y
OnnxModel small_model() {
  OnnxModel model;
  model.input("x", {1, 4});
  model.floats("w", {4}, {1, 2, 3, 4});
  model.node("Mul", {"x", "w"}, {"scaled"});
  model.node("Relu", {"scaled"}, {"y"});
  model.output("y", {1, 4});
  return model;
}

std::vector<std::string> problems(const OnnxModel& model) {
  return check_bytes(model.bytes()).problems;
}

TEST(Check, AcceptsASoundModel) {
  EXPECT_THAT(problems(small_model()), IsEmpty());
  EXPECT_THAT(check_bytes(small_model().bytes()).warnings, IsEmpty());
}

TEST(Check, ReportsCountsAndBytes) {
  const CheckReport report = check_bytes(small_model().bytes());
  EXPECT_EQ(report.op_counts, (std::map<std::string, int64_t>{{"Mul", 1}, {"Relu", 1}}));
  EXPECT_EQ(report.initializer_count, 1);
  EXPECT_EQ(report.initializer_bytes.at("float32"), 16);
  EXPECT_EQ(report.file_bytes, static_cast<int64_t>(small_model().bytes().size()));
}

TEST(Check, JsonHasTheDocumentedKeys) {
  const nlohmann::json json = to_json(check_bytes(small_model().bytes()));
  EXPECT_EQ(json.at("op_counts").at("Mul"), 1);
  EXPECT_EQ(json.at("inputs").at(0).at("name"), "x");
  EXPECT_EQ(json.at("outputs").at(0).at("shape"), (nlohmann::json{1, 4}));
  EXPECT_EQ(json.at("opset"), 17);
  EXPECT_GT(json.at("file_bytes"), 0);
}

TEST(Check, JsonSurvivesNamesThatAreNoText) {
  OnnxModel model = small_model();
  model.graph().mutable_input(0)->set_name("x\xff\xfe");
  EXPECT_NO_THROW(to_json(check_bytes(model.bytes())).dump());
}

TEST(Check, FindsCyclesAndWrongOrder) {
  OnnxModel model = small_model();
  model.graph().mutable_node(0)->set_input(0, "y");
  EXPECT_THAT(problems(model), Contains(HasSubstr("before it is made")));
}

TEST(Check, FindsMissingInitializers) {
  OnnxModel model = small_model();
  model.graph().clear_initializer();
  EXPECT_THAT(problems(model), Contains(HasSubstr("reads 'w', which nothing makes")));
}

TEST(Check, FindsValuesMadeTwice) {
  OnnxModel model = small_model();
  model.node("Relu", {"x"}, {"y"});
  EXPECT_THAT(problems(model), Contains(HasSubstr("'y' is made twice")));
}

TEST(Check, FindsOutputsThatNothingMakes) {
  OnnxModel model = small_model();
  model.output("z", {1});
  EXPECT_THAT(problems(model), Contains(HasSubstr("'z' is never made")));
}

TEST(Check, FindsWrongRawDataSizes) {
  OnnxModel model = small_model();
  model.graph().mutable_initializer(0)->mutable_raw_data()->pop_back();
  EXPECT_THAT(problems(model), Contains(HasSubstr("needs 16 bytes, raw_data has 15")));
}

TEST(Check, FindsHugeAndNegativeDimensions) {
  for (const int64_t dim : {int64_t{1} << 62, int64_t{-4}}) {
    OnnxModel model = small_model();
    model.graph().mutable_initializer(0)->add_dims(dim);
    EXPECT_EQ(problems(model).size(), 1U);
    EXPECT_THROW(clean_bytes(model.bytes()), Error);
    EXPECT_THROW(read_bytes(model.bytes()), Error);
  }
}

TEST(Check, WarnsOfInitializersListedAsInputsAndInt32Data) {
  OnnxModel model = small_model();
  model.input("w", {4});
  auto* typed = model.graph().add_initializer();
  typed->set_name("codes");
  typed->set_data_type(::onnx::TensorProto::INT8);
  typed->add_dims(1);
  typed->add_int32_data(3);
  const CheckReport report = check_bytes(model.bytes());
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_EQ(report.inputs.size(), 2U);
  EXPECT_THAT(report.warnings, Contains(HasSubstr("listed as graph inputs")));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("int32_data")));
}

TEST(Check, FindsProblemsWithinNestedGraphs) {
  OnnxModel model = small_model();
  auto& branch = model.node("If", {"x"}, {"z"});
  auto* attribute = branch.add_attribute();
  attribute->set_name("then_branch");
  attribute->set_type(::onnx::AttributeProto::GRAPH);
  auto* inner = attribute->mutable_g()->add_node();
  inner->set_op_type("Add");
  inner->add_input("scaled");  // of the graph around it
  inner->add_input("missing");
  inner->add_output("sum");
  EXPECT_THAT(problems(model), testing::ElementsAre(HasSubstr("reads 'missing'")));
}

TEST(Check, LimitsTheDepthOfNestedGraphs) {
  OnnxModel model = small_model();
  ::onnx::GraphProto* graph = &model.graph();
  for (int i = 0; i < 30; ++i) {
    auto* attribute = graph->add_node()->add_attribute();
    graph = attribute->mutable_g();
  }
  EXPECT_THAT(problems(model), Contains(HasSubstr("nested more than")));
}

// codes -> DequantizeLinear(scale, zero point)
OnnxModel quantized_model(int scale_type, int64_t scales, int64_t opset) {
  OnnxModel model(opset);
  model.tensor<int8_t>("codes", {2, 3}, {1, 2, 3, 4, 5, 6}, ::onnx::TensorProto::INT8);
  const size_t size = scale_type == ::onnx::TensorProto::FLOAT ? 4 : 2;
  model.tensor<char>("scale", {scales}, std::vector<char>(size * static_cast<size_t>(scales), 60),
                     scale_type);
  model.tensor<int8_t>("zero", {scales}, std::vector<int8_t>(static_cast<size_t>(scales), 0),
                       ::onnx::TensorProto::INT8);
  OnnxModel::attribute(model.node("DequantizeLinear", {"codes", "scale", "zero"}, {"y"}), "axis",
                       int64_t{0});
  model.output("y", {2, 3}, scale_type);
  return model;
}

TEST(Check, ScaleTypesDependOnTheOpset) {
  const int half = ::onnx::TensorProto::FLOAT16;
  EXPECT_THAT(problems(quantized_model(half, 2, 18)),
              Contains(HasSubstr("scale of type float16 is not allowed in opset 18")));
  EXPECT_THAT(problems(quantized_model(half, 2, 19)), IsEmpty());
  EXPECT_THAT(problems(quantized_model(::onnx::TensorProto::FLOAT, 2, 13)), IsEmpty());
}

TEST(Check, ScalesFitTheAxis) {
  EXPECT_THAT(problems(quantized_model(::onnx::TensorProto::FLOAT, 3, 13)),
              Contains(HasSubstr("3 scales for axis 0 of shape [2, 3]")));
}

TEST(Check, ZeroPointsHaveTheTypeOfTheCodes) {
  OnnxModel model = quantized_model(::onnx::TensorProto::FLOAT, 2, 13);
  model.graph().mutable_initializer(2)->set_data_type(::onnx::TensorProto::UINT8);
  EXPECT_THAT(problems(model), Contains(HasSubstr("codes are int8, the zero point is uint8")));
}

OnnxModel external_model(const std::string& location, const std::string& offset = "0") {
  OnnxModel model = small_model();
  auto* tensor = model.graph().mutable_initializer(0);
  tensor->clear_raw_data();
  tensor->set_data_location(::onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : {std::pair{"location", location}, std::pair{"offset", offset}}) {
    auto* entry = tensor->add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  }
  return model;
}

TEST(Check, ExternalDataStaysInTheFolder) {
  const test::TemporaryFolder folder;
  write_file(folder / "inside" / "weights.bin", std::string(16, '\0'));
  write_file(folder / "outside.bin", std::string(16, '\0'));
  const auto path = folder / "inside" / "model.onnx";
  const auto problems_with = [&](const std::string& location, const std::string& offset) {
    write_file(path, external_model(location, offset).bytes());
    return check(path).problems;
  };
  EXPECT_THAT(problems_with("weights.bin", "0"), IsEmpty());
  EXPECT_THAT(problems_with("../outside.bin", "0"), Contains(HasSubstr("outside the model's")));
  EXPECT_THAT(problems_with("/etc/passwd", "0"), Contains(HasSubstr("outside the model's")));
  EXPECT_THAT(problems_with("none.bin", "0"), Contains(HasSubstr("does not exist")));
  EXPECT_THAT(problems_with("weights.bin", "1"), Contains(HasSubstr("too short")));
  EXPECT_THAT(problems_with("weights.bin", "-1"), Contains(HasSubstr("offset")));
  std::filesystem::create_symlink(folder / "outside.bin", folder / "inside" / "link.bin");
  EXPECT_THAT(problems_with("link.bin", "0"), Contains(HasSubstr("outside the model's")));
}

TEST(Check, CleanPutsExternalDataIntoTheFile) {
  const test::TemporaryFolder folder;
  write_file(folder / "weights.bin", std::string(16, '\1'));
  write_file(folder / "model.onnx", external_model("weights.bin").bytes());
  clean(folder / "model.onnx", folder / "whole.onnx");
  std::filesystem::remove(folder / "weights.bin");
  EXPECT_THAT(check(folder / "whole.onnx").problems, IsEmpty());
}

TEST(Check, FilesThatAreNoModelsEndInOneLine) {
  const test::TemporaryFolder folder;
  for (const std::string& content :
       {std::string(), std::string("hello, this is text"), std::string(1000, '\xff')}) {
    write_file(folder / "x.onnx", content);
    try {
      check(folder / "x.onnx");
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("x.onnx: not an ONNX model"));
      EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    }
  }
}

// Truncated and bit-flipped files: a report or an Error, never anything else.
void expect_handled(const std::string& bytes) {
  for (int reader = 0; reader < 3; ++reader) {
    try {
      if (reader == 0) to_json(check_bytes(bytes)).dump();
      if (reader == 1) clean_bytes(bytes);
      if (reader == 2) read_bytes(bytes);
    } catch (const Error&) {
    }
  }
}

TEST(Check, DamagedFilesAreHandled) {
  graph::Graph graph = test::formula_graph("yolov10n", graph::Head::kOneToMany);
  // Small weights keep the file small: structure is what gets damaged.
  for (const char* head : {"model.1.conv", "model.5.cv1.conv"})
    ASSERT_NE(graph.find_node(head), nullptr);
  std::string bytes = serialize(graph, {.dynamic = true});
  Random random(1);
  for (int i = 0; i < 6; ++i) expect_handled(bytes.substr(0, random.below(bytes.size())));
  // The first bytes hold the nodes; weights follow.
  for (int i = 0; i < 40; ++i) {
    std::string damaged = bytes;
    for (int flips = 0; flips < 3; ++flips) {
      damaged[random.below(std::min<size_t>(bytes.size(), 60000))] ^=
          static_cast<char>(1 << random.below(8));
    }
    expect_handled(damaged);
  }
}

TEST(Check, DamagedSmallFilesAreHandledByteByByte) {
  const std::string bytes = small_model().bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    expect_handled(bytes.substr(0, i));
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      expect_handled(damaged);
    }
  }
}

}  // namespace
}  // namespace yoloquant::onnx
