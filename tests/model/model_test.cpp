#include "model/model.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "graph/passes.h"
#include "support/shared_data.h"

namespace yoloquant::model {
namespace {

class EveryVariant : public testing::TestWithParam<std::string> {};

TEST_P(EveryVariant, HasTheParametersKeysAndConvsOfTheOriginal) {
  YQ_REQUIRE_SHARED();
  std::ifstream file(test::shared_data() / "golden/variants.json");
  const auto golden = nlohmann::json::parse(file).at(GetParam());
  const graph::Graph graph = build(load_definition(GetParam() + ".yaml"));
  const TensorMap state = state_dict(graph);
  EXPECT_EQ(parameter_count(graph), golden.at("parameters").get<int64_t>());
  EXPECT_EQ(graph.metadata.strides, golden.at("stride").get<std::vector<int64_t>>());
  const auto keys = golden.at("state").get<std::map<std::string, Shape>>();
  EXPECT_EQ(state.size(), keys.size());
  for (const auto& [key, shape] : keys) {
    ASSERT_TRUE(state.contains(key)) << key;
    EXPECT_EQ(state.at(key).shape(), shape) << key;
  }
  const auto convs = golden.at("convs_one2many").get<size_t>();
  const auto head = graph::Head::kOneToMany;
  EXPECT_EQ(graph::conv_names(for_inference(graph, head, graph::Branches::kKeep)).size(), convs);
  const auto branches = std::ranges::count_if(
      keys, [](const auto& entry) { return entry.first.ends_with(".conv1.conv.weight"); });
  EXPECT_EQ(graph::conv_names(for_inference(graph, head)).size(), convs - branches);
}

INSTANTIATE_TEST_SUITE_P(Yolov10, EveryVariant,
                         testing::Values("yolov10n", "yolov10s", "yolov10m", "yolov10b", "yolov10l",
                                         "yolov10x"),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace yoloquant::model
