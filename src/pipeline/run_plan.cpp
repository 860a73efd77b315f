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

PlannedVariant quantized_files(const std::string& run, const std::string& variant,
                               const quant::QuantizationConfig& config) {
  PlannedVariant planned = plan_variant(run, variant);
  planned.config = config;
  planned.raw = fs::path("onnx") / "raw" / fmt::format("{}_{}.onnx", run, variant);
  planned.quantize = fs::path("onnx") / fmt::format("{}_{}.quantize.json", run, variant);
  planned.clean = fs::path("onnx") / fmt::format("{}_{}.clean.json", run, variant);
  return planned;
}

// The reference preset is for comparison: training knows nothing of it.
bool can_be_trained(const RunVariant& variant) {
  return variant.trainable && variant.config.preset == quant::Preset::kNone;
}

// Only what a training of the plain layouts can take up.
void check_training(const RunOptions& options) {
  if (options.qat.when == QatWhen::kOff) return;
  if (options.quantize.layout == onnx::Layout::kDeploy) {
    fail_usage("layout deploy is not made by training: use --qat off, or --layout qcdq or int4");
  }
  if (std::ranges::none_of(options.variants, can_be_trained)) {
    fail_usage("there is nothing to train: the reference preset is for comparison");
  }
  if (model_kind(options.model) != ModelKind::kCheckpoint) {
    fail_usage("{}: quantized models are trained from a checkpoint", options.model);
  }
  if (options.load.image_height != options.load.image_width) {
    fail_usage("training takes square images: --imgsz N");
  }
}

// A file name of its own: nothing that leads out of the run's folder.
std::string checked_name(const std::string& name, const char* what) {
  const bool plain =
      !name.empty() && name.front() != '.' && name.find_first_of("/\\\n") == std::string::npos;
  if (!plain) fail_usage("'{}' cannot name a {}", name, what);
  return name;
}

bool needs_images(const RunPlan& plan) {
  return std::ranges::any_of(plan.options.variants, [](const RunVariant& variant) {
    const std::string& method = variant.config.method;
    return (method != "nearest" && method != "auto") ||
           variant.config.scheme.quantizes_activations();
  });
}

PlannedVariant plan_quantized(const RunPlan& plan, const RunVariant& variant) {
  QuantizeOptions options = plan.options.quantize;
  options.config = variant.config;
  check_layout(options);
  PlannedVariant planned =
      quantized_files(plan.name, checked_name(variant.name, "variant"), variant.config);
  const bool twice = std::ranges::any_of(
      plan.variants, [&](const PlannedVariant& other) { return other.name == planned.name; });
  if (twice) fail_usage("two variants are called {}", planned.name);
  if (plan.options.qat.when != QatWhen::kOff && can_be_trained(variant)) {
    planned.start = fs::path("qat") / (planned.name + ".start.safetensors");
  }
  return planned;
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
  plan.name = checked_name(o.name.empty() ? fs::path(o.model).stem().string() : o.name, "run");
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
  for (const RunVariant& variant : o.variants) {
    plan.variants.push_back(plan_quantized(plan, variant));
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
  PlannedVariant variant = quantized_files(plan.name, source.name + "_qat", *source.config);
  variant.start = source.start;
  variant.source = source.name;
  if (!plan.options.qat.in_root) variant.training = fs::path("qat") / source.name;
  return variant;
}

std::vector<RunVariant> scheme_variants(const std::vector<std::string>& schemes,
                                        const quant::QuantizationConfig& config,
                                        const std::string& suffix) {
  std::vector<RunVariant> variants;
  for (const std::string& scheme : schemes) {
    RunVariant variant{.name = "", .config = config};
    variant.config.scheme = quant::parse_scheme(scheme);
    variant.name = quant::scheme_name(variant.config.scheme) + suffix;
    const bool twice = std::ranges::any_of(
        variants, [&](const RunVariant& other) { return other.name == variant.name; });
    if (!twice) variants.push_back(std::move(variant));
  }
  return variants;
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
