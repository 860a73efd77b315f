#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "base/text.h"
#include "program.h"
#include "support/shared_data.h"

namespace yoloquant::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

void expect_one_line(const Outcome& outcome, int status) {
  EXPECT_EQ(outcome.status, status) << outcome.err;
  EXPECT_THAT(outcome.err, StartsWith("yoloquant: "));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_EQ(outcome.out, "");
}

TEST(Usage, WrongUsageIsOneLineAndStatusTwo) {
  for (const char* arguments :
       {"",
        "exportt m.pt",
        "onnx",
        "onnx diffs f",
        "export",
        "export m.pt --hed one2one",
        "export m.pt more.pt --out x.onnx",
        "export m.pt --head both --out x.onnx",
        "export m.pt --opset 99 --out x.onnx",
        "export m.pt --imgsz 100 --out x.onnx",
        "export m.pt --out x.onnx --config /nowhere.yaml",
        "--threads 2 info m.pt",
        "quantize yolov10n.yaml --scheme w9a9 --out x.onnx",
        "quantize yolov10n.yaml --mean-bits 4 --size 1MB --out x.onnx",
        "sensitivity yolov10n.yaml --calib x --size big --out x",
        "completion tcsh",
        "run yolov10n.yaml --coco /nowhere --resume",
        "eval yolov10n.yaml --out x",
        "eval yolov10n.yaml --images . --out x",
        "eval yolov10n.yaml --against yolov10n.yaml --out x",
        "eval yolov10n.yaml --against yolov10n.yaml --images /nowhere --out x",
        "eval yolov10n.yaml --against yolov10n.yaml --images . --coco . --out x",
        "eval yolov10n.yaml --against yolov10n.yaml --images . --image-ids 3 --out x"}) {
    SCOPED_TRACE(arguments);
    expect_one_line(yoloquant(arguments), 2);
  }
  EXPECT_THAT(yoloquant("exportt m.pt").err, HasSubstr("did you mean export?"));
  EXPECT_THAT(yoloquant("onnx diffs f").err, HasSubstr("did you mean diff?"));
  EXPECT_THAT(yoloquant("export m.pt --hed one2one").err, HasSubstr("did you mean --head?"));
}

TEST(Usage, FailedJobsAreOneLineAndStatusOne) {
  const TemporaryFolder folder;
  write_file(folder / "bad.onnx", "this is no model");
  write_file(folder / "bad.pt", "this is no checkpoint");
  for (const char* arguments :
       {"info missing.pt", "info missing.onnx", "info bad.onnx", "info bad.pt",
        "export bad.pt --out x.onnx", "checkpoint show bad.pt", "checkpoint convert bad.pt x.pt",
        "onnx check bad.onnx", "onnx clean bad.onnx --out x.onnx", "onnx diff bad.onnx bad.onnx",
        "bench bad.onnx", "calib missing --count 3 --out x.txt",
        "eval bad.onnx --coco missing --out results", "predict bad.onnx missing --out results",
        "quantize bad.pt --scheme w4a16 --out x.onnx"}) {
    SCOPED_TRACE(arguments);
    expect_one_line(yoloquant(arguments, folder.path()), 1);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "x.onnx"));
  EXPECT_FALSE(std::filesystem::exists(folder / "x.pt"));
  EXPECT_THAT(yoloquant("info yolov10q.yaml").err, HasSubstr("yolov10"));
  EXPECT_THAT(yoloquant("export yolov10n.yaml --imgsz 64 --out /proc/none/x.onnx").err,
              HasSubstr("/proc/none"));
}

TEST(Usage, VersionAndHelpGoToStdout) {
  EXPECT_THAT(yoloquant("--version").out, StartsWith("yoloquant "));
  EXPECT_THAT(yoloquant("--help").out, HasSubstr("quantize"));
  EXPECT_THAT(yoloquant("onnx --help").out, HasSubstr("onnx diff"));
  for (const char* command : {"info", "export", "quantize", "eval", "bench", "predict", "run",
                              "calib", "checkpoint show", "onnx check", "demo"}) {
    const Outcome outcome = yoloquant(std::string(command) + " --help");
    EXPECT_EQ(outcome.status, 0) << command;
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("usage: yoloquant "), HasSubstr("--threads")));
    EXPECT_EQ(yoloquant(std::string("help ") + command).out, outcome.out);
  }
}

TEST(Usage, DumpedOptionsAreAConfiguration) {
  const TemporaryFolder folder;
  const Outcome dump = yoloquant(
      "run m.pt --coco c --schemes w4a8 --layers '[{match: model.23.*, skip: true}]' --conf 0.01 "
      "--dump-config",
      folder.path());
  ASSERT_EQ(dump.status, 0) << dump.err;
  write_file(folder / "run.yaml", dump.out);
  const Outcome again = yoloquant("run run.yaml --split train2017 --dump-config", folder.path());
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_THAT(again.out, AllOf(HasSubstr("model: m.pt"), HasSubstr("schemes: [w4a8]"),
                               HasSubstr("match: model.23.*"), HasSubstr("conf: 0.01"),
                               HasSubstr("split: train2017  # flag")));
  write_file(folder / "bad.yaml", "model: m.pt\nschems: [w8a8]\n");
  const Outcome bad = yoloquant("run bad.yaml", folder.path());
  expect_one_line(bad, 2);
  EXPECT_THAT(bad.err, AllOf(HasSubstr("bad.yaml, line 2"), HasSubstr("did you mean schemes?")));
}

// The commands in README.md's code blocks, continued lines joined and comments removed.
std::vector<std::string> readme_commands() {
  std::vector<std::string> commands;
  std::string line;
  for (const std::string& part : split(read_file(source_folder() / "README.md"), '\n')) {
    line += trim(part);
    if (line.ends_with('\\')) {
      line.back() = ' ';
      continue;
    }
    if (line.starts_with("yoloquant ")) commands.push_back(line.substr(0, line.find(" #")));
    line.clear();
  }
  return commands;
}

TEST(Usage, ReadmeCommandsParse) {
  const std::vector<std::string> commands = readme_commands();
  ASSERT_FALSE(commands.empty());
  for (const std::string& command : commands) {
    const Outcome outcome = yoloquant(command.substr(10) + " --dump-config");
    EXPECT_EQ(outcome.status, 0) << command << '\n' << outcome.err;
    // Nothing that is required may be missing: dumped, it would be "".
    EXPECT_THAT(outcome.out, Not(HasSubstr("model: \"\""))) << command;
  }
}

TEST(Usage, BashCompletes) {
  const std::string script =
      "export PATH='" + yoloquant_program().parent_path().string() +
      "':$PATH; source <(yoloquant completion bash); "
      "try() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _yoloquant 2>/dev/null; "
      "echo \"${COMPREPLY[*]}\"; }; "
      "try yoloquant quan; try yoloquant onnx cl; try yoloquant export m --head one2o; "
      "try yoloquant eval m --spl";
  std::string output;
  setenv("SCRIPT", script.c_str(), 1);
  EXPECT_EQ(run_command("bash -c 'eval \"$SCRIPT\"'", &output), 0);
  EXPECT_EQ(output, "quantize\nclean\none2one\n--split\n");
}

TEST(Programs, LoadOnlyWhatTheyNeed) {
  const std::filesystem::path engines = build_folder() / "libexec" / "yoloquant";
  std::string main_libraries;
  std::string image_libraries;
  std::string engine_libraries;
  ASSERT_EQ(run_command("ldd " + yoloquant_program().string(), &main_libraries), 0);
  ASSERT_EQ(run_command("ldd " + (engines / "yoloquant-image-engine").string(), &image_libraries),
            0);
  ASSERT_EQ(run_command("ldd " + (engines / "yoloquant-engine").string(), &engine_libraries), 0);
  EXPECT_THAT(main_libraries, AllOf(HasSubstr("libonnxruntime"), Not(HasSubstr("libtorch")),
                                    Not(HasSubstr("libc10")), Not(HasSubstr("libopencv"))));
  EXPECT_THAT(image_libraries, AllOf(HasSubstr("libopencv_core"), Not(HasSubstr("libtorch")),
                                     Not(HasSubstr("libc10"))));
  EXPECT_THAT(engine_libraries, HasSubstr("libtorch_cpu"));
}

TEST(Programs, AClosedPipeEndsQuietly) {
  std::string output;
  run_command("bash -c '" + yoloquant_program().string() +
                  " help --markdown | head -n 1; echo ${PIPESTATUS[1]}'",
              &output);
  EXPECT_EQ(output, "# Command line\n0\n");
}

TEST(Programs, AFullDiskIsAnError) {
  std::string output;
  EXPECT_EQ(run_command(yoloquant_program().string() + " --help >/dev/full", &output), 1);
  EXPECT_THAT(output, StartsWith("yoloquant: cannot write to stdout: "));
}

}  // namespace
}  // namespace yoloquant::test
