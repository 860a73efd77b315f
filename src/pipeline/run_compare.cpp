#include "pipeline/run_compare.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "data/coco_dataset.h"
#include "eval/bootstrap.h"
#include "eval/detections_json.h"
#include "eval/metrics.h"
#include "pipeline/evaluate.h"
#include "pipeline/fidelity_files.h"
#include "pipeline/fidelity_reference.h"

namespace yoloquant::pipeline {
namespace {

nlohmann::json read_metrics(const RunPlan& plan, const PlannedVariant& variant) {
  return nlohmann::json::parse(read_file(plan.root / variant.metrics_json()));
}

}  // namespace

std::vector<int64_t> evaluated_images(const RunPlan& plan, const PlannedVariant& variant) {
  return read_metrics(plan, variant).at("yoloquant").at("image_ids").get<std::vector<int64_t>>();
}

double variant_map(const RunPlan& plan, const PlannedVariant& variant) {
  return read_metrics(plan, variant).at("metrics").at("mAP_50_95").get<double>();
}

nlohmann::ordered_json compare_variants(const RunPlan& plan, Progress& progress) {
  const EvalOptions& options = plan.options.eval;
  const auto dataset = data::CocoDataset::open(options.coco_root, options.split);
  const std::vector<int64_t> ids = evaluated_images(plan, plan.variants.front());
  const auto matches = [&](const PlannedVariant& variant) {
    return score_detections(dataset, ids, plan.root / variant.detections(), options).matches;
  };
  const auto difference = [&](const eval::MatchTable& from, const eval::MatchTable& to) {
    return eval::intervals_json(eval::bootstrap_difference(from, to, bootstrap_options(options)));
  };
  const eval::MatchTable baseline = matches(plan.variants.front());
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  progress.start("resampling", static_cast<int64_t>(plan.variants.size()) - 1);
  for (size_t i = 1; i < plan.variants.size(); ++i) {
    const PlannedVariant& variant = plan.variants[i];
    const eval::MatchTable own = matches(variant);
    nlohmann::ordered_json& entry = json[variant.name] = difference(baseline, own);
    if (!variant.source.empty()) {
      const auto source = std::ranges::find(plan.variants, variant.source, &PlannedVariant::name);
      entry["training"] = difference(matches(*source), own);
      entry["training"]["from"] = variant.source;
    }
    progress.update(static_cast<int64_t>(i));
  }
  progress.finish();
  return json;
}

nlohmann::ordered_json variant_fidelities(const RunPlan& plan, Progress& progress) {
  const EvalOptions& options = plan.options.eval;
  const auto dataset = data::CocoDataset::open(options.coco_root, options.split);
  const std::vector<int64_t> ids = evaluated_images(plan, plan.variants.front());
  const auto file_of = [&](int64_t id) {
    return dataset.images()[static_cast<size_t>(dataset.image_index(id))].file_name;
  };
  const auto reference = eval::read_detections(plan.root / plan.variants.front().detections());
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  progress.start("fidelity", static_cast<int64_t>(plan.variants.size()) - 1);
  for (size_t i = 1; i < plan.variants.size(); ++i) {
    const PlannedVariant& variant = plan.variants[i];
    const eval::Fidelity fidelity =
        eval::measure_fidelity(reference, eval::read_detections(plan.root / variant.detections()),
                               dataset.categories(), ids, fidelity_options(options));
    nlohmann::ordered_json& entry = json[variant.name] = eval::fidelity_json(fidelity);
    entry.update(fidelity_tables_json(fidelity, file_of));
    progress.update(static_cast<int64_t>(i));
  }
  progress.finish();
  return json;
}

}  // namespace yoloquant::pipeline
