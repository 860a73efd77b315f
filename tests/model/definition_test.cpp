#include "model/definition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "graph/passes.h"
#include "model/model.h"
#include "support/error_of.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::model {
namespace {

const char* const kTiny = R"(
nc: 3
scales: {a: [0.5, 0.5, 64], b: [1.0, 1.0, 64]}
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 3, C2f, [32, True]]
  - [-1, 2, Conv, [128, 3, 2]]
head:
  - [[1, 2], 1, v10Detect, [nc]]
)";

std::string error_of(const std::string& yaml) {
  return test::error_of([&] { build(parse_definition(yaml, "test"), 64, 64); });
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(Definition, AppliesScaleRepeatsAndClasses) {
  const Definition a = parse_definition(kTiny, "custom", "a");
  EXPECT_EQ(a.layers[1].repeats, 2);  // round(1.5), ties to even
  EXPECT_EQ(a.layers[2].repeats, 1);
  const graph::Graph graph = build(a, 64, 64);
  EXPECT_EQ(graph.parameter("model.2.conv.weight").dim(0), 32);  // min(128, 64) / 2
  EXPECT_TRUE(graph.parameters.contains("model.1.m.1.cv2.conv.weight"));
  EXPECT_EQ(graph.metadata.names.size(), 3U);
  const graph::Graph b = build(parse_definition(kTiny, "custom", "b", 7), 64, 64);
  EXPECT_TRUE(b.parameters.contains("model.2.1.conv.weight"));  // repeated outside the module
  EXPECT_EQ(b.metadata.names.size(), 7U);
}

TEST(Definition, AUsersStrides) {
  const graph::Graph graph = build(parse_definition(kTiny, "custom"), 64, 64);
  EXPECT_EQ(graph.metadata.strides, (std::vector<int64_t>{2, 4}));
}

TEST(Definition, ErrorsNameTheRow) {
  using testing::HasSubstr;
  EXPECT_THAT(error_of(replaced(kTiny, "C2f,", "C9f,")),
              HasSubstr("layer 1 (C9f): unknown module"));
  EXPECT_THAT(error_of(replaced(kTiny, "[1, 2]", "[1, 9]")), HasSubstr("layer 3 (line 9)"));
  EXPECT_THAT(error_of(replaced(kTiny, "nc: 3", "nc: many")), HasSubstr("nc is no number"));
  EXPECT_THAT(error_of(replaced(kTiny, "[16, 3, 2]", "[x, 3, 2]")),
              HasSubstr("argument 1 of Conv"));
  EXPECT_THAT(error_of(replaced(kTiny, "[16, 3, 2]", "[16, 3, 0]")), HasSubstr("stride 0"));
  EXPECT_THAT(error_of(replaced(kTiny, ", 3, C2f", ", 3000, C2f")), HasSubstr("repeats"));
  EXPECT_THAT(error_of("nc: 3\nbackbone: []\nhead: []\n"), HasSubstr("no layers"));
  EXPECT_THAT(error_of("[1, 2"), HasSubstr("not valid YAML"));
  EXPECT_THAT(error_of("just text"), HasSubstr("must be a map"));
}

TEST(Definition, FilesComeBeforeBuiltinsAndUnknownNamesGetASuggestion) {
  EXPECT_EQ(builtin_definitions().size(), 7U);
  try {
    load_definition("yolov10q.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("did you mean yolov10"));
    EXPECT_EQ(error.exit_status(), 2);
  }
  const test::TemporaryFolder folder;
  write_file(folder / "mine.yaml", std::string_view(kTiny));
  EXPECT_EQ(load_definition(folder / "mine.yaml").class_count, 3);
}

TEST(State, LoadsWhatItWroteAndListsWhatDoesNotFit) {
  graph::Graph graph = build(parse_definition(kTiny, "custom"), 64, 64);
  initialize(graph, 1);
  const TensorMap state = state_dict(graph);
  graph::Graph other = build(parse_definition(kTiny, "custom"), 64, 64);
  load_state(other, state);
  EXPECT_TRUE(
      equal(other.parameter("model.0.conv.weight"), graph.parameter("model.0.conv.weight")));
  TensorMap damaged = state;
  damaged.erase("model.0.conv.weight");
  EXPECT_THROW(load_state(other, damaged), Error);
  damaged = state;
  damaged["model.0.conv.weight"] = Tensor(DType::kFloat32, {1, 3, 3, 3});
  EXPECT_THROW(load_state(other, damaged), Error);
  damaged = state;
  damaged["model.9.conv.weight"] = Tensor(DType::kFloat32, {1});
  EXPECT_THROW(load_state(other, damaged), Error);
}

TEST(Initialize, DependsOnTheSeedAndBiasesTheHeads) {
  graph::Graph a = build(parse_definition(kTiny, "custom"), 64, 64);
  graph::Graph b = a;
  initialize(a, 1);
  initialize(b, 1);
  EXPECT_TRUE(equal(a.parameter("model.0.conv.weight"), b.parameter("model.0.conv.weight")));
  initialize(b, 2);
  EXPECT_FALSE(equal(a.parameter("model.0.conv.weight"), b.parameter("model.0.conv.weight")));
  EXPECT_EQ(a.parameter("model.3.cv2.0.2.bias").data<float>()[0], 1.0F);
  // log(5 / 3 / (640 / 2)^2)
  EXPECT_NEAR(a.parameter("model.3.cv3.0.2.bias").data<float>()[0], -11.0258F, 1e-3);
}

}  // namespace
}  // namespace yoloquant::model
