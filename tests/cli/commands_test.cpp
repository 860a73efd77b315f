#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/arguments.h"
#include "cli/completion.h"
#include "cli/config_file.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/program.h"
#include "cli/terminal.h"
#include "support/shared_data.h"

namespace yoloquant::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<Command>& table() {
  static const std::vector<Command> commands = command_table({});
  return commands;
}

// A command with its options, as main has it.
struct Use {
  explicit Use(const Command& command) : info(command.info), invocation(command.make()) {
    invocation->declare(options);
    declare_common(options, &common, info.has_json);
  }
  const CommandInfo& info;
  std::unique_ptr<Invocation> invocation;
  CommonOptions common;
  Options options;
};

// Without the notes on where values came from.
std::string values_only(const std::string& dump) {
  return std::regex_replace(dump, std::regex("  # (file|flag)\n"), "\n");
}

// A value other than the default that the option takes.
std::vector<std::string> other_value(const Option& option) {
  if (option.kind == OptionKind::kFlag) {
    return {option.default_values.at(0) == "true" ? "false" : "true"};
  }
  if (option.kind == OptionKind::kTree) return {"[{match: model.1.*, weight_bits: 4}]"};
  if (!option.choices.empty()) return {option.choices.back()};
  if (option.name == "imgsz") return {"320x640"};
  if (option.name == "device") return {"cuda:1"};
  if (option.placeholder == "N" || option.placeholder == "X") {
    if (option.high >= 14) return {"14"};
    return {option.default_values == std::vector<std::string>{"1"} ? "0" : "1"};
  }
  if (option.kind == OptionKind::kList) return {"one", "two"};
  return {"some text: with a colon"};
}

TEST(Commands, EveryCommandDumpsWhatItReads) {
  for (const Command& command : table()) {
    SCOPED_TRACE(command.info.name);
    Use defaults(command);
    const std::string plain = dump_config(defaults.options, command.info.name);
    Use again(command);
    apply_config(plain, "dump", again.options);
    EXPECT_EQ(values_only(dump_config(again.options, command.info.name)), plain);

    Use changed(command);
    for (Option& option : changed.options.all()) {
      SCOPED_TRACE(option.name);
      option.set(other_value(option), Origin::kFlag);
      EXPECT_NE(option.current(), option.default_values);
    }
    const std::string dump = dump_config(changed.options, command.info.name);
    Use read(command);
    apply_config(dump, "dump", read.options);
    EXPECT_EQ(values_only(dump_config(read.options, command.info.name)), values_only(dump));
  }
}

TEST(Commands, EveryOptionHasHelpAndEveryCommandAnExample) {
  for (const Command& command : table()) {
    SCOPED_TRACE(command.info.name);
    EXPECT_FALSE(command.info.summary.empty());
    EXPECT_FALSE(command.info.details.empty());
    ASSERT_FALSE(command.info.examples.empty());
    const Use use(command);
    for (const Option& option : use.options.all()) EXPECT_FALSE(option.help.empty()) << option.name;
    const std::string help = command_help(command);
    EXPECT_THAT(help, HasSubstr(command.info.examples[0].line));
    for (const std::string& line : split(help, '\n')) {
      const bool is_example = line.find("yoloquant ") != std::string::npos;
      EXPECT_TRUE(is_example || line.size() <= 100) << line;
    }
  }
}

// Splits an example as a shell would, as far as the examples need it.
std::vector<std::string> shell_words(const std::string& line) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

TEST(Commands, ExamplesParse) {
  for (const Command& command : table()) {
    for (const Example& example : command.info.examples) {
      SCOPED_TRACE(example.line);
      std::vector<std::string> words = shell_words(example.line);
      const size_t skipped = 1 + split(command.info.name, ' ').size();
      ASSERT_TRUE(example.line.starts_with("yoloquant " + command.info.name));
      words.erase(words.begin(), words.begin() + static_cast<int64_t>(skipped));
      // Files of the examples do not exist.
      if (example.line.find("--config") != std::string::npos) continue;
      Use use(command);
      EXPECT_NO_THROW(parse_arguments(command.info, words, use.options));
      EXPECT_NO_THROW(use.options.check_required(command.info.name));
    }
  }
}

TEST(Commands, FixedNamesExist) {
  const std::map<std::string, std::vector<std::string>> expected = {
      {"info", {}},
      {"export", {"head", "precision", "out", "opset", "dynamic", "batch", "imgsz", "seed"}},
      {"quantize",
       {"scheme", "head", "calib", "calib-images", "method", "preset", "out", "device", "seed"}},
      {"sensitivity", {"calib", "out", "coco", "bits", "head", "images", "mean-bits", "device"}},
      {"eval", {"coco", "split", "max-images", "image-ids", "against", "images", "out", "device"}},
      {"bench", {"runs"}},
      {"predict", {"out"}},
      {"run", {"coco", "schemes", "calib", "max-images", "out", "resume", "device", "seed"}},
      {"qat", {"coco", "scheme", "fraction", "epochs", "steps", "out", "resume"}},
      {"sweep", {"out", "resume"}},
      {"calib", {"count", "seed", "out"}},
      {"shapes", {"out", "train-images", "val-images", "seed"}},
      {"checkpoint convert", {}},
      {"checkpoint show", {}},
      {"onnx check", {}},
      {"onnx clean", {"out"}},
      {"onnx diff", {"images", "per-node"}},
      {"train",
       {"data", "coco", "epochs", "batch", "imgsz", "out", "resume", "fraction", "device", "seed"}},
      {"demo", {"model", "data"}}};
  ASSERT_EQ(table().size(), expected.size());
  for (const Command& command : table()) {
    SCOPED_TRACE(command.info.name);
    ASSERT_TRUE(expected.contains(command.info.name));
    Use use(command);
    for (const std::string& name : expected.at(command.info.name)) {
      const Option* option = use.options.find_key(name);
      ASSERT_NE(option, nullptr) << name;
      EXPECT_FALSE(option->positional) << name;
    }
    EXPECT_NE(use.options.find_key("threads"), nullptr);
    EXPECT_NE(use.options.find_key("json"), nullptr);
  }
}

TEST(Commands, ReferenceInDocsIsCurrent) {
  const std::string current = read_file(test::source_folder() / "docs/cli.md");
  EXPECT_TRUE(current == markdown_reference(table()))
      << "docs/cli.md is not what the declarations say: yoloquant help --markdown > docs/cli.md";
}

TEST(Arguments, ImageSizesAreHeightByWidth) {
  const ImageSize square = OptionValue<ImageSize>::parse("640");
  EXPECT_EQ(square.height, 640);
  EXPECT_EQ(square.width, 640);
  const ImageSize other = OptionValue<ImageSize>::parse("320x640");
  EXPECT_EQ(other.height, 320);
  EXPECT_EQ(other.width, 640);
  EXPECT_EQ(OptionValue<ImageSize>::print(other), "320x640");
  for (const char* bad : {"", "x", "0", "33", "640x", "1x2x3", "-32", "640.0", "100000"}) {
    EXPECT_THROW(OptionValue<ImageSize>::parse(bad), Error) << bad;
  }
}

TEST(Arguments, DevicesAreProvidersWithANumber) {
  EXPECT_EQ(OptionValue<Device>::parse("auto").provider, runtime::Provider::kAuto);
  EXPECT_EQ(OptionValue<Device>::parse("cuda:2").index, 2);
  EXPECT_EQ(OptionValue<Device>::parse("cuda:2").executor_name(), "cuda:2");
  EXPECT_EQ(OptionValue<Device>::parse("tensorrt:1").executor_name(), "cuda:1");
  for (const char* bad : {"", "gpu", "cpu:1", "cuda:", "cuda:-1", "cuda:x"}) {
    EXPECT_THROW(OptionValue<Device>::parse(bad), Error) << bad;
  }
}

TEST(Completion, OffersCommandsFlagsAndChoices) {
  EXPECT_THAT(complete(table(), {"ex"}), HasSubstr("export\n"));
  EXPECT_THAT(complete(table(), {"onnx", ""}), AllOf(HasSubstr("check\n"), HasSubstr("diff\n")));
  EXPECT_THAT(complete(table(), {"export", "--pre"}), HasSubstr("--precision\n"));
  EXPECT_EQ(complete(table(), {"export", "--head", "one2o"}), "one2one\n:nothing\n");
  EXPECT_EQ(complete(table(), {"export", "--head", "=", "one2o"}), "one2one\n:nothing\n");
  EXPECT_EQ(complete(table(), {"export", "yolov10x"}), "yolov10x.yaml\n:files\n");
  EXPECT_EQ(complete(table(), {"eval", "m.onnx", "--coco", ""}), ":folders\n");
  EXPECT_EQ(complete(table(), {"completion", "z"}), "zsh\n:nothing\n");
  EXPECT_EQ(complete(table(), {"nonsense", "more", ""}), ":nothing\n");
  EXPECT_THAT(complete(table(), {}), HasSubstr("quantize\n"));
}

TEST(Completion, HasAScriptForEachShell) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    EXPECT_THAT(completion_script({shell}), HasSubstr("yoloquant __complete")) << shell;
  }
  EXPECT_THROW(completion_script({"tcsh"}), Error);
  EXPECT_THROW(completion_script({}), Error);
}

TEST(Terminal, ProgressLineHasRateAndTimeLeft) {
  EXPECT_EQ(progress_line("calibrating", 25, 100, 5, "loss 0.1"),
            "calibrating  25/100  5.0/s  15 s left  loss 0.1");
  EXPECT_EQ(progress_line("reconstructing", 1, 3, 4, ""),
            "reconstructing  1/3  4.0 s each  8.0 s left");
  EXPECT_EQ(progress_line("reading", 0, 10, 0, ""), "reading  0/10");
  EXPECT_THAT(progress_line("reading", 10, 10, 1, ""), Not(HasSubstr("left")));
}

TEST(Terminal, TablesAlignNumbersToTheRight) {
  EXPECT_EQ(format_table({{"name", "n"}, {"a", "1"}, {"bcd", "100"}}),
            "name    n\n"
            "a       1\n"
            "bcd   100\n");
}

}  // namespace
}  // namespace yoloquant::cli
