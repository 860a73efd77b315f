#include "quant/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "quant/budget.h"
#include "quant/method.h"

namespace yoloquant::quant {
namespace {

using testing::HasSubstr;

template <typename Body>
std::string error_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_status(), 2);
    return error.what();
  }
  return "no error";
}

TEST(Scheme, ReadsNames) {
  EXPECT_EQ(parse_scheme("w4a8"), (Scheme{4, 8}));
  EXPECT_EQ(parse_scheme("W8A16"), (Scheme{8, 16}));
  EXPECT_EQ(scheme_name({3, 6}), "w3a6");
  EXPECT_FALSE(parse_scheme("w4a16").quantizes_activations());
  for (const char* bad : {"", "w4", "a8", "w4a", "wa8", "w1a8", "w9a8", "w4a3", "w4a12", "w4a8x",
                          "w-4a8", "w4 a8", "w99999999999a8"}) {
    EXPECT_THAT(error_of([&] { parse_scheme(bad); }), HasSubstr("unknown scheme")) << bad;
  }
}

TEST(Config, LaterRulesWinOverDefaultsOverTheScheme) {
  const auto config = parse_config(R"(
scheme: w4a8
defaults:
  symmetric: true
  percentile: 99.5
layers:
  - match: model.23
    weight_bits: 6
  - match: "model.*.cv1.conv"
    activation_bits: 16
  - match: model.23.cv2
    weight_bits: 8
    granularity: per_tensor
    symmetric: false
)");
  const auto plain = settings_for(config, "model.0.conv");
  EXPECT_EQ(plain.weight_bits, 4);
  EXPECT_EQ(plain.activation_bits, 8);
  EXPECT_TRUE(plain.symmetric);
  EXPECT_EQ(plain.percentile, 99.5);
  EXPECT_EQ(plain.granularity, Granularity::kPerChannel);
  EXPECT_EQ(settings_for(config, "model.2.cv1.conv").activation_bits, 16);
  EXPECT_EQ(settings_for(config, "model.23.cv3.0.conv").weight_bits, 6);
  EXPECT_EQ(settings_for(config, "model.230.cv3.conv").weight_bits, 4);
  const auto both = settings_for(config, "model.23.cv2.0.conv");
  EXPECT_EQ(both.weight_bits, 8);
  EXPECT_EQ(both.granularity, Granularity::kPerTensor);
  EXPECT_FALSE(both.symmetric);
}

TEST(Config, WritesWhatItReads) {
  const auto config = parse_config(R"(
scheme: w4a6
preset: none
method: nearest
defaults: {weight_norm: 2, weight_scale: absmax, narrow_range: true, activation_range: minmax}
layers:
  - {match: "model.[02].*", skip: true}
  - {match: 'odd "name": #1', percentile: 99.9, activation_range: percentile}
)");
  const std::string text = config_yaml(config);
  EXPECT_EQ(config_yaml(parse_config(text)), text);
  const auto again = parse_config(text);
  ASSERT_EQ(again.rules.size(), 2U);
  EXPECT_EQ(again.rules[1].match, "odd \"name\": #1");
  EXPECT_EQ(again.rules[1].overrides.percentile, 99.9);
  EXPECT_EQ(again.defaults.weight_norm, 2);
  EXPECT_TRUE(settings_for(again, "model.0.conv").skip);
  EXPECT_EQ(config_yaml(parse_config("")), config_yaml(QuantizationConfig()));
}

TEST(Config, ErrorsGiveTheLineAndASuggestion) {
  const auto message = [](const char* yaml) {
    return error_of([&] { parse_config(yaml, "q.yaml"); });
  };
  EXPECT_EQ(message("scheme: w4a8\nlayer: []"),
            "q.yaml: line 2: unknown key 'layer'; did you mean 'layers'?");
  EXPECT_EQ(message("layers:\n  - match: a\n    weight_bit: 4"),
            "q.yaml: line 3: unknown setting 'weight_bit'; did you mean 'weight_bits'?");
  EXPECT_THAT(message("defaults:\n  granularity: per_chanel"),
              HasSubstr("line 2: unknown granularity 'per_chanel'; did you mean 'per_channel'"));
  EXPECT_THAT(message("defaults:\n  weight_bits: 9"), HasSubstr("line 2: 'weight_bits' is 9"));
  EXPECT_THAT(message("defaults:\n  activation_bits: 12"), HasSubstr("line 2"));
  EXPECT_THAT(message("defaults:\n  activation_low: 1"), HasSubstr("at most 0"));
  EXPECT_THAT(message("defaults:\n  activation_high: -1"), HasSubstr("at least 0"));
  EXPECT_THAT(message("defaults:\n  activation_high: inf"), HasSubstr("at least 0"));
  EXPECT_THAT(message("defaults:\n  percentile: nan"), HasSubstr("line 2"));
  EXPECT_THAT(message("defaults:\n  percentile: 20"), HasSubstr("line 2"));
  EXPECT_THAT(message("defaults:\n  weight_norm: 2x"), HasSubstr("needs a number"));
  EXPECT_THAT(message("defaults:\n  skip: maybe"), HasSubstr("needs true or false"));
  EXPECT_THAT(message("defaults:\n  skip: [1]"), HasSubstr("single value"));
  EXPECT_THAT(message("defaults: 3"), HasSubstr("line 1"));
  EXPECT_THAT(message("layers: 3"), HasSubstr("list of rules"));
  EXPECT_THAT(message("layers:\n  - weight_bits: 4"), HasSubstr("needs 'match'"));
  EXPECT_THAT(message("layers:\n  - 7"), HasSubstr("line 2"));
  EXPECT_THAT(message("scheme: w4\n"), HasSubstr("unknown scheme"));
  EXPECT_THAT(message("[1, 2"), HasSubstr("q.yaml: line"));
  EXPECT_THAT(message("- a"), HasSubstr("line 1"));
  EXPECT_THAT(message("? [a]\n: b"), HasSubstr("line 1"));
}

TEST(Config, RulesMustMatchSomething) {
  QuantizationConfig config;
  config.rules.push_back({"model.0.cnv", {}});
  EXPECT_THAT(error_of([&] { check_rules(config, {"model.0.conv", "model.1.conv"}); }),
              HasSubstr("did you mean 'model.0.conv'"));
  config.rules[0].match = "model.1";
  check_rules(config, {"model.0.conv", "model.1.conv"});
}

TEST(Methods, AreMadeFromAList) {
  const auto methods = parse_methods(" nearest ,nearest");
  ASSERT_EQ(methods.size(), 2U);
  EXPECT_EQ(methods[0]->name(), "nearest");
  EXPECT_THAT(error_of([] { parse_methods("nearst"); }), HasSubstr("did you mean 'nearest'"));
  EXPECT_THAT(error_of([] { parse_methods("nearest,"); }), HasSubstr("empty name"));
  EXPECT_THAT(error_of([] { parse_methods(""); }), HasSubstr("empty name"));
}

TEST(Methods, AutoRoundsFewBitsWithImagesAndTunesThemWithMoreEffort) {
  const auto chosen = [](const char* yaml, Effort effort) {
    return resolve_method(parse_config(yaml), effort);
  };
  EXPECT_EQ(chosen("{scheme: w8a8, method: auto}", Effort::kMax), "nearest");
  EXPECT_EQ(chosen("{scheme: w4a8, method: auto}", Effort::kFast), "gptq");
  EXPECT_EQ(chosen("{scheme: w4a8, method: auto}", Effort::kNormal), "gptq,teacher");
  EXPECT_EQ(chosen("{scheme: w4a8, method: bias}", Effort::kMax), "bias");
}

TEST(Budget, ReadsEffortsAndRunsOut) {
  for (const Effort effort : {Effort::kFast, Effort::kNormal, Effort::kMax}) {
    EXPECT_EQ(parse_effort(effort_name(effort)), effort);
  }
  EXPECT_THAT(error_of([] { parse_effort("slow"); }), HasSubstr("unknown effort"));
  EXPECT_FALSE(Budget().expired());
  EXPECT_TRUE(Budget(Effort::kFast, 0).expired());
}

}  // namespace
}  // namespace yoloquant::quant
