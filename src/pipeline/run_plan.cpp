#include "pipeline/run_plan.h"

#include <algorithm>

#include "base/error.h"
#include "data/coco_dataset.h"
#include "pipeline/calibration_list.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;

PlannedVariant plan_variant(const std::string& run, const std::string& variant) {
  const fs::path stem = fs::path("onnx") / fmt::format("{}_{}", run, variant);
  PlannedVariant planned;
  planned.name = variant;
  planned.onnx = stem.string() + ".onnx";
  planned.check = stem.string() + ".check.json";
  planned.metrics = fs::path("metrics") / variant;
  return planned;
}

PlannedVariant plan_quantized(const std::string& run, const std::string& variant,
                              const quant::Scheme& scheme) {
  PlannedVariant planned = plan_variant(run, variant);
  planned.scheme = scheme;
  planned.raw = fs::path("onnx") / "raw" / fmt::format("{}_{}.onnx", run, variant);
  planned.quantize = fs::path("onnx") / fmt::format("{}_{}.quantize.json", run, variant);
  planned.clean = fs::path("onnx") / fmt::format("{}_{}.clean.json", run, variant);
  return planned;
}

// Only what a training of the plain layouts can take up.
void check_training(const RunOptions& options) {
  if (options.qat.when == QatWhen::kOff) return;
  if (options.quantize.layout == onnx::Layout::kDeploy) {
    fail_usage("layout deploy is not made by training: use --qat off, or --layout qcdq or int4");
  }
  if (options.quantize.config.preset != quant::Preset::kNone) {
    fail_usage("the reference preset is for comparison and cannot be trained with");
  }
  if (model_kind(options.model) != ModelKind::kCheckpoint) {
    fail_usage("{}: quantized models are trained from a checkpoint", options.model);
  }
  if (options.load.image_height != options.load.image_width) {
    fail_usage("training takes square images: --imgsz N");
  }
}

// A folder name of its own: nothing that leads out of the run's folder.
std::string checked_name(const std::string& name) {
  const bool plain =
      !name.empty() && name.front() != '.' && name.find_first_of("/\\\n") == std::string::npos;
  if (!plain) fail_usage("'{}' cannot name a run", name);
  return name;
}

bool needs_images(const RunPlan& plan) {
  const std::string& method = plan.options.quantize.config.method;
  return (method != "nearest" && method != "auto") ||
         std::ranges::any_of(plan.variants, [](const PlannedVariant& variant) {
           return variant.scheme && variant.scheme->quantizes_activations();
         });
}

void plan_calibration(RunPlan& plan) {
  CalibrationListOptions& calibration = plan.options.quantize.calibration;
  if (calibration.coco_root.empty()) calibration.coco_root = plan.options.eval.coco_root;
  try {
    plan.calibration_images = choose_calibration_images(calibration);
  } catch (const Error&) {
    // Without a source of their own, schemes with float activations go without images.
    if (needs_images(plan) || !calibration.source.empty()) throw;
  }
}

}  // namespace

RunPlan plan_run(const RunOptions& options) {
  RunPlan plan;
  plan.options = options;
  RunOptions& o = plan.options;
  plan.name = checked_name(o.name.empty() ? fs::path(o.model).stem().string() : o.name);
  plan.root = o.root.empty() ? default_run_root(fs::current_path(), plan.name) : o.root;
  if (o.eval.coco_root.empty()) fail_usage("name the data set's folder (--coco)");
  if (o.baseline.head == graph::Head::kBoth) o.baseline.head = graph::Head::kOneToMany;

  if (o.load.image_height == 0) o.load.image_height = o.baseline.image_height;
  if (o.load.image_width == 0) o.load.image_width = o.baseline.image_width;
  o.baseline.image_height = o.quantize.image_height = o.eval.image_height = o.load.image_height;
  o.baseline.image_width = o.quantize.image_width = o.eval.image_width = o.load.image_width;
  o.quantize.head = o.eval.head = o.baseline.head;

  plan.variants.push_back(plan_variant(plan.name, "fp32"));
  if (o.export_fp16) {
    plan.variants.push_back(plan_variant(plan.name, "fp16"));
    plan.variants.back().precision = onnx::Precision::kFloat16;
  }
  for (const std::string& scheme : o.schemes) {
    const quant::Scheme parsed = quant::parse_scheme(scheme);
    PlannedVariant variant = plan_quantized(plan.name, quant::scheme_name(parsed), parsed);
    if (o.qat.when != QatWhen::kOff) {
      variant.start = fs::path("qat") / (variant.name + ".start.safetensors");
    }
    o.quantize.config.scheme = *variant.scheme;
    check_layout(o.quantize);
    const bool twice = std::ranges::any_of(
        plan.variants, [&](const PlannedVariant& other) { return other.name == variant.name; });
    if (!twice) plan.variants.push_back(std::move(variant));
  }
  // Finds out now what would fail after an hour.
  const auto dataset = data::CocoDataset::open(o.eval.coco_root, o.eval.split);
  plan.annotations = dataset.annotation_file();
  plan.image_folder = dataset.image_folder();
  plan_calibration(plan);
  check_training(o);
  return plan;
}

PlannedVariant plan_training(const RunPlan& plan, const PlannedVariant& source) {
  PlannedVariant variant = plan_quantized(plan.name, source.name + "_qat", *source.scheme);
  variant.start = source.start;
  variant.trained = true;
  return variant;
}

QatWhen parse_qat_when(std::string_view name) {
  for (const QatWhen when : {QatWhen::kOff, QatWhen::kAuto, QatWhen::kOn}) {
    if (name == qat_when_name(when)) return when;
  }
  fail_usage("'{}' does not say when to train: off, auto or on", name);
}

std::string_view qat_when_name(QatWhen when) {
  switch (when) {
    case QatWhen::kOff:
      return "off";
    case QatWhen::kAuto:
      return "auto";
    case QatWhen::kOn:
      return "on";
  }
  return "";
}

}  // namespace yoloquant::pipeline
