#include "pipeline/run_stages.h"

#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "onnx/clean.h"
#include "pipeline/bench.h"
#include "pipeline/qat.h"
#include "pipeline/run_compare.h"
#include "pipeline/run_pictures.h"
#include "pipeline/train_settings.h"
#include "runtime/diff.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

void write_json(const fs::path& path, const ordered_json& json) {
  write_file(path, json.dump(2) + "\n");
}

// What of the model is not in its file.
ordered_json model_json(const RunOptions& options) {
  ordered_json json{{"model", fs::path(options.model).filename().string()},
                    {"class_count", options.load.class_count},
                    {"image_height", options.load.image_height},
                    {"image_width", options.load.image_width}};
  if (model_kind(options.model) == ModelKind::kDefinition && options.load.seed) {
    json["seed"] = *options.load.seed;
  }
  return json;
}

std::vector<fs::path> model_inputs(const RunOptions& options) {
  if (fs::is_regular_file(options.model)) return {options.model};
  return {};  // built in: part of the code version
}

Stage export_stage(const RunPlan& plan, const PlannedVariant& variant, RunModel& model) {
  ExportOptions options = plan.options.baseline;
  options.precision = variant.precision;
  Stage stage;
  stage.name = "export " + variant.name;
  stage.options = {{"model", model_json(plan.options)},
                   {"head", graph::head_name(options.head)},
                   {"precision", onnx::precision_name(options.precision)},
                   {"opset", options.opset},
                   {"dynamic", options.dynamic},
                   {"batch", options.batch},
                   {"max_detections", options.max_detections}};
  stage.inputs = model_inputs(plan.options);
  stage.outputs = {variant.onnx, variant.check};
  stage.run = [&plan, &variant, &model, options](Progress& progress) {
    const ExportResult result =
        export_onnx(model.get(), plan.root / variant.onnx, options, progress);
    write_json(plan.root / variant.check, onnx::to_json(result.check));
  };
  return stage;
}

Stage calibration_stage(const RunPlan& plan) {
  const CalibrationListOptions& options = plan.options.quantize.calibration;
  ordered_json images = ordered_json::array();
  for (const fs::path& image : plan.calibration_images) images.push_back(image.string());
  Stage stage;
  stage.name = "calibration list";
  stage.options = {{"images", std::move(images)}, {"seed", options.seed}};
  stage.outputs = {RunPlan::kCalibration};
  stage.run = [&plan, &options](Progress&) {
    write_calibration_list(plan.root / RunPlan::kCalibration, options);
  };
  return stage;
}

// Infinity has no place in JSON: a lossless layer has a ratio of null.
ordered_json finite_or_null(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json quantize_json(const QuantizeResult& result) {
  return {{"scheme", result.scheme},
          {"method", result.method},
          {"calibration_images", result.calibration_images},
          {"mean_weight_bits", quant::mean_weight_bits(result.layers)},
          {"verification", verification_json(result.verification)},
          {"warnings", result.warnings},
          {"layers", layers_json(result.layers)}};
}

Stage quantize_stage(const RunPlan& plan, const PlannedVariant& variant, RunModel& model) {
  QuantizeOptions options = plan.options.quantize;
  options.config = *variant.config;
  options.calibration = {};
  options.resume = plan.options.resume;
  const bool images = !plan.calibration_images.empty();
  if (images) {
    options.calibration.source = plan.root / RunPlan::kCalibration;
    options.calibration.images = 0;  // all of the list
  }
  Stage stage;
  stage.name = "quantize " + variant.name;
  stage.options = {{"model", model_json(plan.options)},
                   {"config", quant::config_yaml(options.config)},
                   {"head", graph::head_name(options.head)},
                   {"effort", quant::effort_name(options.effort)},
                   {"tuned_heads", tuned_heads_name(options.tuned_heads)},
                   {"seconds", finite_or_null(options.seconds)},
                   {"seed", options.seed},
                   {"layout", onnx::layout_name(options.layout)},
                   {"opset", options.opset},
                   {"precision", onnx::precision_name(options.precision)},
                   {"dynamic", options.dynamic},
                   {"device", options.device},
                   {"threads", options.threads},
                   {"batch", options.batch},
                   {"verify_images", options.verify_images}};
  stage.inputs = model_inputs(plan.options);
  if (images) stage.inputs.push_back(options.calibration.source);
  for (const fs::path& image : plan.calibration_images) stage.inputs.push_back(image);
  stage.outputs = {variant.raw, variant.quantize};
  if (!variant.start.empty()) {
    options.annotations = plan.root / variant.start;
    stage.outputs.push_back(variant.start);
  }
  stage.run = [&plan, &variant, &model, options](Progress& progress) {
    const QuantizeResult result =
        quantize_onnx(model.get(), plan.root / variant.raw, options, progress);
    write_json(plan.root / variant.quantize, quantize_json(result));
  };
  return stage;
}

TrainOptions train_options(const RunPlan& plan, const PlannedVariant& variant) {
  const RunQat& qat = plan.options.qat;
  TrainOptions train = qat.train;
  train.model = plan.options.model;
  train.out = variant.training.empty() ? plan.root : plan.root / variant.training;
  train.image_size = plan.options.load.image_height;
  if (train.image_size == 0) train.image_size = 640;
  train.trainer.evaluated = plan.options.baseline.head == graph::Head::kOneToMany
                                ? train::EvaluatedHead::kOneToMany
                                : train::EvaluatedHead::kOneToOne;
  train.qat->config = *variant.config;
  train.qat->start = plan.root / variant.start;
  return train;
}

Stage train_stage(const RunPlan& plan, const PlannedVariant& variant, RunModel& model,
                  RunRoot& root) {
  TrainOptions train = train_options(plan, variant);
  QuantizeOptions options = plan.options.quantize;
  options.config = train.qat->config;
  Stage stage;
  stage.name = "train " + variant.name;
  stage.options = {{"model", model_json(plan.options)},
                   {"head", graph::head_name(options.head)},
                   {"layout", onnx::layout_name(options.layout)},
                   {"opset", options.opset},
                   {"training", train_settings(train)}};
  stage.inputs = model_inputs(plan.options);
  stage.inputs.push_back(train.qat->start);
  stage.outputs = {variant.raw, variant.quantize};
  stage.run = [&plan, &variant, &model, &root, train, options](Progress& progress) {
    const QuantizeResult result =
        quantize_by_training(model.get(), plan.root / variant.raw, train, options,
                             plan.calibration_images, root, plan.options.qat.events, progress);
    write_json(plan.root / variant.quantize, quantize_json(result));
  };
  return stage;
}

// The same values to the last bit but one: clean-up removes and moves nodes, it computes nothing
// anew. A quantized activation would turn any larger difference into another code.
constexpr double kCleanBound = 1e-6;

Stage clean_stage(const RunPlan& plan, const PlannedVariant& variant) {
  Stage stage;
  stage.name = "clean " + variant.name;
  stage.inputs = {plan.root / variant.raw};
  stage.outputs = {variant.onnx, variant.clean};
  stage.run = [&plan, &variant](Progress& progress) {
    progress.start("cleaning", 2);
    AtomicFile file(plan.root / variant.onnx);
    const onnx::CleanReport report = onnx::clean(plan.root / variant.raw, file.temporary_path());
    progress.update(1);
    runtime::DiffOptions options;
    options.session = {.provider = runtime::Provider::kCpu,
                       .threads = plan.options.eval.threads,
                       .graph_optimization = false};
    const runtime::DiffReport diff =
        runtime::diff(plan.root / variant.raw, file.temporary_path(), {}, options);
    for (const runtime::Difference& output : diff.outputs) {
      if (!(output.max_relative <= kCleanBound)) {
        fail("clean-up changed {} by {:.2g} relative", output.name, output.max_relative);
      }
    }
    file.commit();
    write_json(plan.root / variant.clean, {{"nodes_before", report.nodes_before},
                                           {"nodes_after", report.nodes_after},
                                           {"bytes_before", report.bytes_before},
                                           {"bytes_after", report.bytes_after},
                                           {"removed", report.removed},
                                           {"max_abs_difference", diff.max_abs()}});
    progress.update(2);
    progress.finish();
  };
  return stage;
}

int64_t count_of(const onnx::CheckReport& report, const char* op) {
  const auto found = report.op_counts.find(op);
  return found == report.op_counts.end() ? 0 : found->second;
}

Stage check_stage(const RunPlan& plan, const PlannedVariant& variant) {
  Stage stage;
  stage.name = "check " + variant.name;
  stage.inputs = {plan.root / variant.raw, plan.root / variant.onnx};
  stage.outputs = {variant.check};
  stage.run = [&plan, &variant](Progress&) {
    const onnx::CheckReport before = onnx::check(plan.root / variant.raw);
    const onnx::CheckReport report = onnx::check(plan.root / variant.onnx);
    if (!report.ok()) fail("{}: {}", variant.onnx.string(), report.problems[0]);
    for (const char* op : {"QuantizeLinear", "DequantizeLinear", "Clip"}) {
      if (count_of(before, op) != count_of(report, op)) {
        fail("{}: {} {} nodes instead of {}", variant.onnx.string(), count_of(report, op), op,
             count_of(before, op));
      }
    }
    write_json(plan.root / variant.check, onnx::to_json(report));
  };
  return stage;
}

Stage evaluate_stage(const RunPlan& plan, const PlannedVariant& variant) {
  const EvalOptions& options = plan.options.eval;
  Stage stage;
  stage.name = "evaluate " + variant.name;
  stage.options = {{"split", options.split},
                   {"images_dir", plan.image_folder.string()},
                   {"max_images", options.max_images},
                   {"image_ids", options.image_ids},
                   {"conf", options.conf},
                   {"iou", options.iou},
                   {"max_det", options.max_det},
                   {"pre_nms_topk", options.pre_nms_topk},
                   {"image_height", options.image_height},
                   {"image_width", options.image_width},
                   {"provider", static_cast<int>(options.provider)},
                   {"device", options.device},
                   {"threads", options.threads},
                   {"skip_latency", options.skip_latency},
                   {"warmup_runs", options.warmup_runs},
                   {"latency_runs", options.latency_runs},
                   {"bootstrap_resamples", options.bootstrap_resamples},
                   {"bootstrap_seed", options.bootstrap_seed}};
  stage.inputs = {plan.root / variant.onnx, plan.annotations};
  stage.outputs = {variant.metrics_json(), variant.detections(), variant.per_class()};
  stage.run = [&plan, &variant](Progress& progress) {
    evaluate_model((plan.root / variant.onnx).string(), plan.root / variant.metrics,
                   plan.options.eval, progress);
  };
  return stage;
}

Stage latency_stage(const RunPlan& plan) {
  const EvalOptions& eval = plan.options.eval;
  BenchOptions options;
  options.runs = eval.latency_runs;
  options.warmup_runs = eval.warmup_runs;
  options.image_height = eval.image_height;
  options.image_width = eval.image_width;
  options.provider = eval.provider;
  options.device = eval.device;
  options.threads = eval.threads;
  Stage stage;
  stage.name = "latency";
  stage.options = {{"runs", options.runs},
                   {"warmup_runs", options.warmup_runs},
                   {"provider", static_cast<int>(options.provider)},
                   {"device", options.device},
                   {"threads", options.threads}};
  for (const PlannedVariant& variant : plan.variants) {
    stage.inputs.push_back(plan.root / variant.onnx);
  }
  stage.outputs = {RunPlan::kLatency};
  stage.run = [&plan, options](Progress& progress) {
    std::vector<fs::path> files;
    for (const PlannedVariant& variant : plan.variants) files.push_back(plan.root / variant.onnx);
    ordered_json json = bench_json(bench(files, options, progress));
    for (size_t i = 0; i < plan.variants.size(); ++i) json[i]["variant"] = plan.variants[i].name;
    write_json(plan.root / RunPlan::kLatency, json);
  };
  return stage;
}

using Compare = nlohmann::ordered_json (*)(const RunPlan&, Progress&);

// Of the detections of all variants.
Stage comparison_stage(const RunPlan& plan, const std::string& name, const char* output,
                       Compare compare) {
  const EvalOptions& options = plan.options.eval;
  Stage stage;
  stage.name = name;
  stage.options = {{"resamples", options.bootstrap_resamples},
                   {"seed", options.bootstrap_seed},
                   {"split", options.split}};
  for (const PlannedVariant& variant : plan.variants) {
    stage.inputs.push_back(plan.root / variant.detections());
  }
  stage.inputs.push_back(plan.annotations);
  stage.outputs = {output};
  stage.run = [&plan, output, compare](Progress& progress) {
    write_json(plan.root / output, compare(plan, progress));
  };
  return stage;
}

Stage differences_stage(const RunPlan& plan) {
  return comparison_stage(plan, "differences", RunPlan::kDifferences, compare_variants);
}

Stage fidelity_stage(const RunPlan& plan) {
  Stage stage = comparison_stage(plan, "fidelity", RunPlan::kFidelity, variant_fidelities);
  stage.options["reference_score"] = plan.options.eval.reference_score;
  return stage;
}

Stage pictures_stage(const RunPlan& plan) {
  Stage stage;
  stage.name = "pictures";
  stage.options = {{"images", plan.options.pictures.images}, {"split", plan.options.eval.split}};
  for (const PlannedVariant* variant : pictured_variants(plan)) {
    stage.inputs.push_back(plan.root / variant->detections());
  }
  stage.inputs.push_back(plan.annotations);
  stage.outputs = {RunPlan::kPictures};
  stage.run = [&plan](Progress&) {
    AtomicFile file(plan.root / RunPlan::kPictures);
    data::write_image(file.temporary_path(), draw_pictures(plan));
    file.commit();
  };
  return stage;
}

}  // namespace

const LoadedModel& RunModel::get() {
  if (!model_) model_ = load_model(plan_.options.model, plan_.options.load);
  return *model_;
}

std::vector<Stage> first_stages(const RunPlan& plan, RunModel& model) {
  std::vector<Stage> stages;
  for (const PlannedVariant& variant : plan.variants) {
    if (!variant.config) stages.push_back(export_stage(plan, variant, model));
  }
  if (!plan.calibration_images.empty()) stages.push_back(calibration_stage(plan));
  for (const PlannedVariant& variant : plan.variants) {
    if (variant.config) {
      stages.push_back(quantize_stage(plan, variant, model));
      stages.push_back(clean_stage(plan, variant));
      stages.push_back(check_stage(plan, variant));
    }
    stages.push_back(evaluate_stage(plan, variant));
  }
  return stages;
}

std::vector<Stage> training_stages(const RunPlan& plan, const PlannedVariant& variant,
                                   RunModel& model, RunRoot& root) {
  return {train_stage(plan, variant, model, root), clean_stage(plan, variant),
          check_stage(plan, variant), evaluate_stage(plan, variant)};
}

std::vector<Stage> comparison_stages(const RunPlan& plan) {
  std::vector<Stage> stages;
  if (!plan.options.eval.skip_latency) stages.push_back(latency_stage(plan));
  if (plan.options.eval.bootstrap_resamples > 0) stages.push_back(differences_stage(plan));
  if (plan.variants.size() > 1) stages.push_back(fidelity_stage(plan));
  if (plan.options.pictures.images > 0) stages.push_back(pictures_stage(plan));
  return stages;
}

}  // namespace yoloquant::pipeline
