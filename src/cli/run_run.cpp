#include "pipeline/run.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/program.h"
#include "cli/run_command.h"
#include "cli/sensitivity_command.h"
#include "cli/terminal.h"
#include "cli/train_command.h"
#include "pipeline/demo.h"
#include "report/summary.h"

namespace yoloquant::cli {

namespace {

std::string signed_interval(const report::Interval& interval) {
  return fmt::format("{:+.4f} ({:+.4f} to {:+.4f})", interval.estimate, interval.low,
                     interval.high);
}

std::string fidelity_cell(const report::Variant& variant) {
  if (variant.fidelity < 0) return "";
  if (!variant.fidelity_interval) return fmt::format("{:.4f}", variant.fidelity);
  return fmt::format("{:.4f} ({:.4f} to {:.4f})", variant.fidelity, variant.fidelity_interval->low,
                     variant.fidelity_interval->high);
}

std::string result_text(const pipeline::RunResult& result) {
  std::vector<std::vector<std::string>> table = {{"variant", "mAP50-95", "mAP50",
                                                  "difference (95 % interval)",
                                                  "fidelity (95 % interval)", "median ms", "MB"}};
  for (const report::Variant& variant : result.summary.variants) {
    table.push_back({variant.name, fmt::format("{:.4f}", variant.map_50_95),
                     fmt::format("{:.4f}", variant.map_50),
                     variant.difference ? signed_interval(*variant.difference) : "",
                     fidelity_cell(variant),
                     variant.latency ? fmt::format("{:.2f}", variant.latency->median_ms) : "",
                     fmt::format("{:.2f}", static_cast<double>(variant.file_bytes) / 1e6)});
  }
  return format_table(table) + (result.root / "summary.md").string() + '\n';
}

int show(const pipeline::RunResult& result, Context& context) {
  // What `yoloquant run` takes to do it again; config.yaml has what became of it.
  write_file(result.root / "command.yaml", context.options_yaml());
  for (const std::string& warning : result.summary.warnings) context.warn("{}", warning);
  for (const std::string& finding : report::findings(result.summary)) context.info("{}", finding);
  nlohmann::ordered_json json = {{"root", result.root.string()},
                                 {"summary", report::summary_json(result.summary)}};
  context.result(json, result_text(result));
  return 0;
}

// A run that was stopped before its journal was written has nothing to go on with: it starts.
bool can_resume(const std::filesystem::path& root, bool wanted, Context& context) {
  if (!wanted) return false;
  if (root.empty()) fail_usage("--resume needs --out RUN_ROOT, the run to go on with");
  if (std::filesystem::exists(root / "journal.jsonl")) return true;
  context.warn("{} holds no finished stage: starting from the beginning", root.string());
  return false;
}

}  // namespace

int run_run(const RunArguments& arguments, Context& context) {
  arguments.check_model();
  pipeline::RunOptions options;
  options.model = arguments.model;
  options.load.seed = arguments.seed;
  options.load.image_height = arguments.height();
  options.load.image_width = arguments.width();
  options.name = arguments.name;
  options.root = arguments.out;
  options.resume = can_resume(arguments.out, arguments.resume, context);
  options.schemes = arguments.schemes;
  options.export_fp16 = arguments.fp16;

  options.baseline.head = arguments.head;
  options.baseline.opset = arguments.opset;
  options.baseline.image_height = arguments.height();
  options.baseline.image_width = arguments.width();

  if (arguments.schemes.empty()) fail_usage("--schemes is empty");
  for (const std::string& scheme : arguments.schemes) quant::parse_scheme(scheme);
  arguments.quantization.apply(arguments.schemes.front(), options.quantize);
  options.quantize.opset = arguments.opset;
  options.quantize.calibration.coco_root = arguments.evaluation.options.coco_root;
  options.quantize.seed = arguments.seed.value_or(0);
  options.quantize.calibration.seed = options.quantize.seed;
  options.quantize.device = arguments.device.executor_name();
  options.quantize.threads = context.threads();

  options.eval = arguments.evaluation.options;
  arguments.evaluation.apply(options.eval);
  options.eval.seed = arguments.seed;
  options.eval.bootstrap_seed = options.quantize.seed;
  options.eval.provider = arguments.device.provider;
  options.eval.device = arguments.device.index;
  options.eval.threads = context.threads();
  return show(pipeline::run_pipeline(options, context.progress()), context);
}

int run_demo(const DemoArguments& arguments, Context& context) {
  pipeline::DemoOptions options;
  options.model = arguments.model;
  options.data = arguments.data;
  options.out = arguments.out;
  options.resume = can_resume(arguments.out, arguments.resume, context);
  options.max_images = arguments.max_images;
  options.calib_images = arguments.calib_images;
  if (arguments.image_size && arguments.image_size->height != arguments.image_size->width) {
    fail_usage("--imgsz of the demo is one number");
  }
  options.image_size = arguments.image_size ? arguments.image_size->height : 0;
  options.schemes = arguments.schemes;
  options.seed = arguments.seed;
  options.threads = context.threads();
  return show(pipeline::run_demo(options, context.progress()), context);
}

Runners all_runners() {
  Runners runners = image_runners();
  runners.quantize = run_quantize;
  runners.sensitivity = run_sensitivity;
  runners.run = run_run;
  runners.demo = run_demo;
  runners.train = run_train;
  return runners;
}

}  // namespace yoloquant::cli
