#include "cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/config_file.h"
#include "cli/parse.h"
#include "support/temporary_folder.h"

namespace yoloquant::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Sample {
  std::filesystem::path model;
  int runs = 50;
  double conf = 0.25;
  bool draw = true;
  std::optional<uint64_t> seed;
  std::string split = "val2017";
  std::vector<std::string> schemes{"w8a8"};
  std::vector<std::filesystem::path> files;
  std::string layers;
  Options options;

  Sample() {
    options.section("Arguments");
    options.positional("model", &model, "a model").is_required();
    options.section("Things");
    options.add("runs", &runs, "runs").between(1, 100);
    options.add("conf-threshold", &conf, "score").between(0, 1);
    options.add("draw", &draw, "boxes");
    options.add("seed", &seed, "seed");
    options.add("split", &split, "split").one_of({"val2017", "train2017"});
    options.add("schemes", &schemes, "schemes");
    options.add("files", &files, "files").whole_arguments();
    options.add_tree("layers", &layers, "rules");
  }

  MetaFlags parse(const std::vector<std::string>& arguments) {
    CommandInfo info;
    info.name = "sample";
    return parse_arguments(info, arguments, options);
  }
};

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_status(), 2);
    return error.what();
  }
  return "no error";
}

TEST(Options, FlagsSetValues) {
  Sample s;
  s.parse({"m.pt", "--runs", "7", "--conf-threshold=0.5", "--no-draw", "--seed",
           "18446744073709551615", "--schemes", "w4a8,w8a8", "--schemes", "w4a16"});
  EXPECT_EQ(s.model, "m.pt");
  EXPECT_EQ(s.runs, 7);
  EXPECT_EQ(s.conf, 0.5);
  EXPECT_FALSE(s.draw);
  EXPECT_EQ(s.seed, UINT64_MAX);
  EXPECT_THAT(s.schemes, ElementsAre("w4a8", "w8a8", "w4a16"));
}

TEST(Options, ListsThatHoldPathsKeepCommas) {
  Sample s;
  s.parse({"m.pt", "--files", "a,b.jpg", "--files", "c.jpg"});
  EXPECT_THAT(s.files, ElementsAre("a,b.jpg", "c.jpg"));
}

TEST(Options, FlagWinsOverFileWinsOverDefault) {
  const test::TemporaryFolder folder;
  write_file(folder / "c.yaml",
             "model: from_file.pt\nruns: 10\nconf_threshold: 0.1\ndraw: false\n");
  Sample s;
  s.parse({"--config", (folder / "c.yaml").string(), "--runs", "20", "--draw"});
  EXPECT_EQ(s.model, "from_file.pt");
  EXPECT_EQ(s.runs, 20);
  EXPECT_EQ(s.conf, 0.1);
  EXPECT_TRUE(s.draw);
  EXPECT_EQ(s.split, "val2017");
  EXPECT_EQ(s.options.find_key("runs")->origin, Origin::kFlag);
  EXPECT_EQ(s.options.find_key("conf_threshold")->origin, Origin::kFile);
  EXPECT_EQ(s.options.find_key("split")->origin, Origin::kDefault);
}

TEST(Options, UnknownFlagSuggestsTheClosest) {
  Sample s;
  EXPECT_THAT(message_of([&] { s.parse({"m.pt", "--rnus", "3"}); }),
              AllOf(HasSubstr("--rnus"), HasSubstr("did you mean --runs?")));
  EXPECT_THAT(message_of([&] { s.parse({"m.pt", "more.pt"}); }), HasSubstr("\"more.pt\""));
}

TEST(Options, ValuesThatDoNotFitAreNamed) {
  const auto error_of = [](std::vector<std::string> arguments) {
    Sample s;
    return message_of([&] { s.parse(arguments); });
  };
  EXPECT_EQ(error_of({"--runs", "x"}), "--runs: \"x\" is not a whole number");
  EXPECT_EQ(error_of({"--runs", "0"}), "--runs: 0 is not in 1..100");
  EXPECT_EQ(error_of({"--runs", "99999999999"}),
            "--runs: 99999999999 is not in -2147483648..2147483647");
  EXPECT_EQ(error_of({"--seed", "-1"}), "--seed: \"-1\" is not a whole number of 0 or more");
  EXPECT_EQ(error_of({"--conf-threshold", "nan"}), "--conf-threshold: \"nan\" is not a number");
  EXPECT_THAT(error_of({"--split", "val201"}), HasSubstr("did you mean val2017?"));
  EXPECT_THAT(error_of({"--runs", "1", "--runs", "2"}), HasSubstr("given 2 times"));
  EXPECT_THAT(error_of({"--runs"}), HasSubstr("--runs"));
}

TEST(Options, MissingRequiredArgumentIsNamed) {
  Sample s;
  s.parse({});
  EXPECT_THAT(message_of([&] { s.options.check_required("sample"); }),
              HasSubstr("sample needs MODEL"));
}

TEST(ConfigFile, UnknownKeyHasLineAndSuggestion) {
  Sample s;
  EXPECT_EQ(message_of([&] { apply_config("runs: 3\nconf_treshold: 1\n", "c.yaml", s.options); }),
            "c.yaml, line 2: unknown key \"conf_treshold\"; did you mean conf_threshold?");
}

TEST(ConfigFile, BadValuesHaveLineAndKey) {
  const auto error_of = [](const char* yaml) {
    Sample s;
    return message_of([&] { apply_config(yaml, "c.yaml", s.options); });
  };
  EXPECT_EQ(error_of("\nruns: many\n"), "c.yaml, line 2: runs: \"many\" is not a whole number");
  EXPECT_EQ(error_of("runs: [1, 2]\n"), "c.yaml, line 1: runs: expected one value");
  EXPECT_EQ(error_of("runs: {a: 1}\n"), "c.yaml, line 1: runs: expected one value");
  EXPECT_EQ(error_of("schemes: {a: 1}\n"), "c.yaml, line 1: schemes: expected a list");
  EXPECT_EQ(error_of("runs: 1\nruns: 2\n"), "c.yaml, line 2: key \"runs\" is there twice");
  EXPECT_THAT(error_of("runs: [1\n"), HasSubstr("c.yaml, line "));
  EXPECT_THAT(error_of("- a\n"), HasSubstr("key: value"));
}

TEST(ConfigFile, NullKeepsTheDefaultAndEmptyTextSetsNothing) {
  Sample s;
  apply_config("", "c.yaml", s.options);
  apply_config("runs: null\nseed: ~\n", "c.yaml", s.options);
  EXPECT_EQ(s.runs, 50);
  EXPECT_FALSE(s.seed);
}

TEST(ConfigFile, DumpReadsBackAsItWas) {
  Sample written;
  written.parse({"weights: final, best.pt", "--runs", "3", "--seed", "9", "--schemes", "w4a8,w2a8",
                 "--no-draw", "--layers", "[{match: model.23.*, skip: true}]"});
  const std::string dump = dump_config(written.options, "sample");
  EXPECT_THAT(dump, AllOf(HasSubstr("# flag"), HasSubstr("match: model.23.*")));
  Sample read;
  apply_config(dump, "dump", read.options);
  EXPECT_EQ(read.model, "weights: final, best.pt");
  EXPECT_EQ(read.runs, 3);
  EXPECT_EQ(read.seed, 9U);
  EXPECT_FALSE(read.draw);
  EXPECT_THAT(read.schemes, ElementsAre("w4a8", "w2a8"));
  EXPECT_THAT(read.layers, AllOf(HasSubstr("match: model.23.*"), HasSubstr("skip: true")));
}

TEST(ConfigFile, TextThatLooksLikeOtherYamlSurvives) {
  for (const std::string text : {"null", "~", "true", "1e3", "", "a: b", "# x", "two\nlines", "'",
                                 "\"", "- a", "[", "\xC3\xA4"}) {
    std::string value = text;
    Options options;
    options.add("text", &value, "text");
    const std::string dump = dump_config(options, "x");
    value = "other";
    apply_config(dump, "dump", options);
    EXPECT_EQ(value, text) << dump;
  }
}

TEST(ConfigFile, ConfigurationsAndDefinitionsAreToldApart) {
  const test::TemporaryFolder folder;
  write_file(folder / "run.yaml", "model: yolov10n.pt\nschemes: [w8a8]\n");
  write_file(folder / "model.yaml", "nc: 3\nbackbone: []\nhead: []\n");
  write_file(folder / "weights.pt", "model: x\n");
  EXPECT_TRUE(is_config_file(folder / "run.yaml"));
  EXPECT_FALSE(is_config_file(folder / "model.yaml"));
  EXPECT_FALSE(is_config_file(folder / "weights.pt"));
  EXPECT_FALSE(is_config_file(folder / "yolov10n.yaml"));
}

TEST(ConfigFile, MayStandWhereTheModelWouldBe) {
  const test::TemporaryFolder folder;
  write_file(folder / "run.yaml", "model: yolov10n.pt\nruns: 4\n");
  CommandInfo info;
  info.name = "sample";
  info.config_positional = true;
  Sample s;
  const MetaFlags meta = parse_arguments(info, {(folder / "run.yaml").string()}, s.options);
  EXPECT_EQ(meta.config, folder / "run.yaml");
  EXPECT_EQ(s.model, "yolov10n.pt");
  EXPECT_EQ(s.runs, 4);
  Sample other;
  EXPECT_THAT(message_of([&] {
                parse_arguments(info, {(folder / "run.yaml").string(), "--config", "x.yaml"},
                                other.options);
              }),
              HasSubstr("two configuration files"));
}

TEST(ConfigFile, MissingFileIsNamed) {
  Sample s;
  EXPECT_THAT(message_of([&] { s.parse({"--config", "/nowhere/c.yaml"}); }),
              HasSubstr("/nowhere/c.yaml"));
}

}  // namespace
}  // namespace yoloquant::cli
