#include "pipeline/run_summary.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json read_json(const fs::path& path) {
  try {
    return json::parse(read_file(path));
  } catch (const json::exception& error) {
    fail("{}: {}", path.string(), error.what());
  }
}

report::Interval interval(const json& object) {
  return {object.at("estimate").get<double>(), object.at("low").get<double>(),
          object.at("high").get<double>()};
}

void read_metrics(const json& metrics, report::Variant& variant) {
  variant.map_50_95 = metrics.at("metrics").at("mAP_50_95").get<double>();
  variant.map_50 = metrics.at("metrics").at("mAP_50").get<double>();
  variant.provider = metrics.at("providers").at(0).get<std::string>();
  const json& own = metrics.at("yoloquant");
  if (own.contains("confidence_interval")) {
    variant.map_interval = interval(own.at("confidence_interval").at("mAP_50_95"));
  }
}

void read_fidelity(const json& object, report::Variant& variant) {
  variant.fidelity = object.at("fidelity").get<double>();
  if (object.contains("confidence_interval")) {
    variant.fidelity_interval = interval(object.at("confidence_interval").at("fidelity"));
  }
}

report::VariantVerification verification(const json& report) {
  const json& v = report.at("verification");
  const auto largest = [&](const char* key) {
    return std::max(v.at("optimized").at(key).get<double>(),
                    v.at("unoptimized").at(key).get<double>());
  };
  return {.max_box_pixels = largest("max_box_pixels"),
          .max_score = largest("max_score"),
          .relative_score = largest("relative_score"),
          .worst_conv = v.at("worst_conv").get<double>()};
}

report::VariantLatency latency(const json& row) {
  const json& ratio = row.at("ratio");
  return {.mean_ms = row.at("mean_ms").get<double>(),
          .median_ms = row.at("median_ms").get<double>(),
          .p90_ms = row.at("p90_ms").get<double>(),
          .ratio = {ratio.at("median").get<double>(), ratio.at("low").get<double>(),
                    ratio.at("high").get<double>()}};
}

report::Variant read_variant(const RunPlan& plan, const PlannedVariant& planned) {
  report::Variant variant;
  variant.name = planned.name;
  variant.onnx = planned.onnx.string();
  variant.check = planned.check.string();
  variant.metrics = planned.metrics_json().string();
  const json check = read_json(plan.root / planned.check);
  variant.file_bytes = check.at("file_bytes").get<int64_t>();
  variant.op_counts = check.at("op_counts").get<std::map<std::string, int64_t>>();
  read_metrics(read_json(plan.root / planned.metrics_json()), variant);
  if (planned.config) {
    variant.quantize = planned.quantize.string();
    const json report = read_json(plan.root / planned.quantize);
    variant.method = report.at("method").get<std::string>();
    if (report.at("verification").at("images").get<int64_t>() > 0) {
      variant.verification = verification(report);
    }
  }
  return variant;
}

std::string image_size_text(const json& imgsz) {
  if (imgsz.is_array()) {
    return fmt::format("{} x {}", imgsz.at(0).get<int64_t>(), imgsz.at(1).get<int64_t>());
  }
  return fmt::format("{0} x {0}", imgsz.get<int64_t>());
}

std::string hardware_text(const Environment& here) {
  std::string gpus = "no GPU";
  if (!here.gpus.empty()) {
    gpus.clear();
    for (const std::string& gpu : here.gpus) gpus += (gpus.empty() ? "" : ", ") + gpu;
  }
  return fmt::format("{} ({} CPUs), {}, {}", here.cpu_model.empty() ? "CPU" : here.cpu_model,
                     here.cpus, human_bytes(here.memory_bytes), gpus);
}

}  // namespace

report::RunSummary read_summary(const RunPlan& plan, const std::vector<StageResult>& stages,
                                const Environment& environment,
                                const std::vector<std::string>& warnings) {
  report::RunSummary summary;
  summary.title = plan.name;
  summary.model = plan.options.model;
  summary.head = graph::head_name(plan.options.baseline.head);
  summary.hardware = hardware_text(environment);
  summary.warnings = warnings;
  for (const PlannedVariant& planned : plan.variants) {
    summary.variants.push_back(read_variant(plan, planned));
  }
  const json baseline = read_json(plan.root / plan.variants.front().metrics_json());
  summary.image_size = image_size_text(baseline.at("imgsz"));
  summary.image_count = baseline.at("metrics").at("num_images").get<int64_t>();
  summary.data =
      fmt::format("{}, {}", plan.options.eval.coco_root.string(), plan.options.eval.split);
  if (!plan.options.eval.skip_latency) {
    const json rows = read_json(plan.root / RunPlan::kLatency);
    for (size_t i = 0; i < plan.variants.size(); ++i) {
      summary.variants[i].latency = latency(rows.at(i));
    }
    summary.files["latency"] = RunPlan::kLatency;
  }
  if (plan.options.eval.bootstrap_resamples > 0) {
    const json differences = read_json(plan.root / RunPlan::kDifferences);
    for (size_t i = 1; i < plan.variants.size(); ++i) {
      const json& difference = differences.at(plan.variants[i].name);
      summary.variants[i].difference = interval(difference.at("mAP_50_95"));
      if (difference.contains("training")) {
        summary.variants[i].trained_from = difference.at("training").at("from").get<std::string>();
        summary.variants[i].gain = interval(difference.at("training").at("mAP_50_95"));
      }
    }
    summary.files["differences"] = RunPlan::kDifferences;
  }
  if (plan.variants.size() > 1) {
    const json fidelities = read_json(plan.root / RunPlan::kFidelity);
    for (size_t i = 1; i < plan.variants.size(); ++i) {
      read_fidelity(fidelities.at(plan.variants[i].name), summary.variants[i]);
    }
    summary.files["fidelity"] = RunPlan::kFidelity;
  }
  if (!plan.calibration_images.empty()) summary.files["calibration"] = RunPlan::kCalibration;
  summary.files["configuration"] = "config.yaml";
  summary.files["environment"] = "environment.json";
  summary.files["stage times"] = "journal.jsonl";
  summary.files["log"] = "logs/run.log";
  summary.files["chart"] = "summary.svg";
  if (plan.options.pictures.images > 0) summary.files["pictures"] = RunPlan::kPictures;
  for (const StageResult& stage : stages) {
    summary.stages.push_back({stage.name, stage.seconds, stage.skipped});
  }
  return summary;
}

void write_summary(const RunPlan& plan, const report::RunSummary& summary) {
  write_file(plan.root / "summary.svg", report::summary_svg(summary));
  write_file(plan.root / "summary.json", report::summary_json(summary).dump(2) + "\n");
  write_file(plan.root / "summary.md", report::summary_markdown(summary));
}

}  // namespace yoloquant::pipeline
