#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/onnx_diff.h"
#include "cli/onnx_report.h"
#include "onnx/clean.h"
#include "runtime/diff.h"

namespace yoloquant::cli {

namespace {

// Largest difference that rounding explains, relative to the largest output.
constexpr double kEqualOutputs = 1e-5;

struct CheckArguments {
  std::filesystem::path file;

  void declare(Options& o) {
    o.section("Arguments");
    o.positional("file", &file, "ONNX file").is_required().completes(Completion::kFiles);
  }
};

int run_check(const CheckArguments& arguments, Context& context) {
  const std::string path = arguments.file.string();
  const onnx::CheckReport report = onnx::check(arguments.file);
  context.result(onnx::to_json(report), onnx_report_text(path, report));
  if (report.ok()) return 0;
  fail("{}: {} problem{}: {}", path, report.problems.size(), report.problems.size() == 1 ? "" : "s",
       report.problems.front());
}

struct CleanArguments {
  std::filesystem::path in;
  std::filesystem::path out;
  Device device;

  void declare(Options& o) {
    o.section("Arguments");
    o.positional("in", &in, "ONNX file to read").is_required().completes(Completion::kFiles);
    o.section("Output");
    o.add("out", &out, "ONNX file to write").is_required().completes(Completion::kFiles);
    o.section("Computation");
    declare_device(o, &device);
  }
};

int run_clean(const CleanArguments& arguments, Context& context) {
  AtomicFile file(arguments.out);
  const onnx::CleanReport report = onnx::clean(arguments.in, file.temporary_path());
  runtime::DiffOptions options;
  options.session = {arguments.device.provider, arguments.device.index, context.threads()};
  const runtime::DiffReport proof = runtime::diff(arguments.in, file.temporary_path(), {}, options);
  double worst = 0;
  for (const runtime::Difference& output : proof.outputs) {
    worst = std::max(worst, output.max_relative);
  }
  if (!proof.comparable() || !(worst <= kEqualOutputs)) {
    fail(
        "{}: the simplified model gives other outputs (relative difference {:.2g}); {} is not "
        "written",
        arguments.in.string(), worst, arguments.out.string());
  }
  file.commit();

  std::string removed;
  for (const auto& [op, count] : report.removed) {
    removed += fmt::format("{}{} {}", removed.empty() ? "" : ", ", count, op);
  }
  context.result({{"path", arguments.out.string()},
                  {"nodes_before", report.nodes_before},
                  {"nodes_after", report.nodes_after},
                  {"initializers_before", report.initializers_before},
                  {"initializers_after", report.initializers_after},
                  {"bytes_before", report.bytes_before},
                  {"bytes_after", report.bytes_after},
                  {"removed", report.removed},
                  {"equal_outputs", true},
                  {"max_abs_difference", proof.max_abs()},
                  {"max_relative_difference", worst}},
                 fmt::format("{}: {} -> {} nodes, {} -> {}; removed {}\noutputs are equal (largest "
                             "difference {:.3g}, relative {:.3g})\n",
                             arguments.out.string(), report.nodes_before, report.nodes_after,
                             human_bytes(static_cast<double>(report.bytes_before)),
                             human_bytes(static_cast<double>(report.bytes_after)),
                             removed.empty() ? "no node" : removed, proof.max_abs(), worst));
  return 0;
}

}  // namespace

Command onnx_check_command() {
  CommandInfo info;
  info.name = "onnx check";
  info.summary = "verify an ONNX file and count its operators";
  info.details =
      "Verifies the structure of any ONNX file and shows its operators, inputs, outputs, opset and "
      "size. A file with problems ends with status 1.";
  info.examples = {{"Node counts for a script", "yoloquant onnx check yolov10n_w8a8.onnx --json"}};
  return define<CheckArguments>(std::move(info), run_check);
}

Command onnx_clean_command() {
  CommandInfo info;
  info.name = "onnx clean";
  info.summary = "simplify an ONNX file, quantization kept";
  info.details =
      "Simplifies any ONNX file: nodes that do nothing, constants that can be computed, repeated "
      "and "
      "unused initializers. QuantizeLinear, DequantizeLinear and Clip all stay. Both files are run "
      "on "
      "the same input; the result is written only when the outputs are equal.";
  info.examples = {{"A file from elsewhere", "yoloquant onnx clean theirs.onnx --out clean.onnx"}};
  return define<CleanArguments>(std::move(info), run_clean);
}

void DiffArguments::declare(Options& o) {
  o.section("Arguments");
  o.positional("a", &a, "ONNX file").is_required().completes(Completion::kFiles);
  o.positional("b", &b, "ONNX file").is_required().completes(Completion::kFiles);
  o.section("Comparison");
  o.add("images", &inputs.images, "run on these (a list, a folder, an image), not random values")
      .completes(Completion::kFiles);
  o.add("max-images", &inputs.max_images, "how many of them at most").between(1, 10000);
  o.add("seed", &inputs.seed, "of random values");
  o.add("per-node", &per_node, "also every value that both files make under the same name");
  o.add("graph-optimization", &graph_optimization, "let ONNX Runtime fuse and reorder nodes");
  o.section("Computation");
  declare_device(o, &device);
}

Command onnx_diff_command(Runner<DiffArguments> runner) {
  CommandInfo info;
  info.name = "onnx diff";
  info.program = Program::kImageEngine;
  info.summary = "compare what two ONNX files compute";
  info.details =
      "Runs two ONNX files on the same inputs and shows how far their outputs are apart, and with "
      "--per-node the values inside that have the same name in both.";
  info.examples = {{"Where quantization bites",
                    "yoloquant onnx diff yolov10n.onnx yolov10n_w8a8.onnx --images coco/val2017 "
                    "--max-images 4 --per-node"}};
  return define<DiffArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli
