#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "pipeline/sweep.h"

namespace yoloquant::cli {

namespace {

struct SweepArguments {
  std::filesystem::path spec;
  std::filesystem::path out;
  bool resume = false;

  void declare(Options& o) {
    o.section("Arguments");
    o.positional("spec", &spec, "YAML with the command, its options, cases and grid")
        .is_required()
        .value_name("SWEEP.yaml")
        .completes(Completion::kFiles);
    o.section("Output");
    o.add("out", &out, "folder for all runs and their table")
        .is_required()
        .value_name("DIR")
        .completes(Completion::kFolders);
    o.add("resume", &resume, "go on with the sweep in DIR: what is done is not repeated");
  }
};

int run_sweep_command(const SweepArguments& arguments, Context& context) {
  const pipeline::SweepSpec spec =
      pipeline::parse_sweep(read_file(arguments.spec), arguments.spec.string());
  pipeline::SweepRunOptions options;
  options.resume = arguments.resume;
  options.threads = context.threads();
  options.say = [&](const std::string& line) { context.info("{}", line); };
  const pipeline::SweepResult result = pipeline::run_sweep(spec, arguments.out, options);
  context.result(pipeline::sweep_json(spec, result), pipeline::sweep_markdown(spec, result));
  if (result.failed > 0) {
    fail("{} of {} runs failed: see {}; --resume tries them again", result.failed,
         result.cells.size(), result.files.front().string());
  }
  return 0;
}

}  // namespace

Command sweep_command() {
  CommandInfo info;
  info.name = "sweep";
  info.summary = "run a command for every point of a grid of options, and compare";
  info.details =
      "Reads a command (train, qat or run), options that all runs share, cases and a grid of "
      "options that vary, and stages: of a stage the best runs are repeated with the options of "
      "the next, such as a larger model. Each run has a folder of its own; the table is written "
      "anew after each. See docs/formats.md for the file.";
  info.examples = {{"What the file says", "yoloquant sweep sweep.yaml --out sweeps/rates"}};
  return define<SweepArguments>(std::move(info), run_sweep_command);
}

}  // namespace yoloquant::cli
