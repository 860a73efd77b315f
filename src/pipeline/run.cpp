#include "pipeline/run.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "exec/executor.h"
#include "pipeline/environment.h"
#include "pipeline/run_compare.h"
#include "pipeline/run_plan.h"
#include "pipeline/run_stages.h"
#include "pipeline/run_summary.h"

namespace yoloquant::pipeline {
namespace {

using nlohmann::ordered_json;

// Where and from what the results come.
ordered_json environment_record(const RunPlan& plan, Environment& here) {
  here.libraries["libtorch"] = exec::torch_version();
  ordered_json json = environment_json(here);
  ordered_json seeds{{"calibration", plan.options.quantize.calibration.seed},
                     {"quantization", plan.options.quantize.seed},
                     {"bootstrap", plan.options.eval.bootstrap_seed}};
  if (plan.options.load.seed) seeds["weights"] = *plan.options.load.seed;
  json["seeds"] = std::move(seeds);
  ordered_json hashes = ordered_json::object();
  const auto add = [&](const std::filesystem::path& path) {
    if (std::filesystem::is_regular_file(path)) hashes[path.string()] = sha256_of_file(path);
  };
  add(plan.options.model);
  add(plan.annotations);
  add(plan.options.quantize.calibration.source);
  json["input_sha256"] = std::move(hashes);
  return json;
}

std::vector<std::string> run_warnings(const RunPlan& plan, RunModel& model) {
  std::vector<std::string> warnings;
  if (model_kind(plan.options.model) == ModelKind::kDefinition) {
    warnings = model.get().warnings;
  }
  if (plan.options.quantize.verify_images == 0) {
    warnings.push_back("quantized files were not compared with the simulator");
  }
  return warnings;
}

// By what post-training quantization has cost.
std::vector<PlannedVariant> variants_to_train(const RunPlan& plan, RunRoot& root) {
  std::vector<PlannedVariant> trained;
  const RunQat& qat = plan.options.qat;
  if (qat.when == QatWhen::kOff) return trained;
  const double baseline = variant_map(plan, plan.variants.front());
  for (const PlannedVariant& variant : plan.variants) {
    if (variant.start.empty()) continue;
    const double loss = baseline - variant_map(plan, variant);
    const bool wanted = qat.when == QatWhen::kOn || loss > qat.bound;
    const std::string line = fmt::format("{} loses {:.4f} mAP50-95: {}", variant.name, loss,
                                         wanted ? "it is trained" : "it is not trained");
    root.log(line);
    qat.events.info(line);
    if (wanted) trained.push_back(plan_training(plan, variant));
  }
  return trained;
}

}  // namespace

RunResult run_pipeline(const RunOptions& options, Progress& progress) {
  RunPlan plan = plan_run(options);
  RunRoot root(plan.root, options.resume ? RunMode::kResume : RunMode::kNew);
  root.log(fmt::format("{} {}: yoloquant {}", options.resume ? "resumed" : "started", plan.name,
                       code_version()));
  Environment here = environment();
  write_file(root.file("config.yaml"), run_config_yaml(plan.options));
  write_file(root.file("environment.json"), environment_record(plan, here).dump(2) + "\n");

  RunModel model(plan);
  RunResult result;
  result.root = plan.root;
  const auto run_all = [&](const std::vector<Stage>& stages) {
    for (const Stage& stage : stages) result.stages.push_back(run_stage(root, stage, progress));
  };
  run_all(first_stages(plan, model));
  for (const PlannedVariant& variant : variants_to_train(plan, root)) {
    run_all(training_stages(plan, variant, model, root));
    plan.variants.push_back(variant);
  }
  run_all(comparison_stages(plan));
  check_interrupt();
  result.summary = read_summary(plan, result.stages, here, run_warnings(plan, model));
  write_summary(plan, result.summary);
  root.log("finished");
  return result;
}

}  // namespace yoloquant::pipeline
