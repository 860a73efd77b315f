#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "base/progress.h"
#include "pipeline/run_plan.h"

// Internal to the layer.
namespace yoloquant::pipeline {

// What a variant's evaluation has found: the ids of its images, and mAP50-95.
std::vector<int64_t> evaluated_images(const RunPlan& plan, const PlannedVariant& variant);
double variant_map(const RunPlan& plan, const PlannedVariant& variant);

// mAP of each variant minus the baseline's on the same images, with bootstrap intervals, from the
// written detections: {VARIANT: {"mAP_50_95": {estimate, low, high, standard_error}, "mAP_50"}}. A
// trained one has the same against what it was before: "training": {"mAP_50_95", "mAP_50", "from"}.
nlohmann::ordered_json compare_variants(const RunPlan& plan, Progress& progress);

// Fidelity of each variant to the baseline, from the same files: {VARIANT: {fidelity, fidelity_50,
// reference_boxes, missed, extra, num_images, images_without_reference, confidence_interval,
// per_class, per_image}}.
nlohmann::ordered_json variant_fidelities(const RunPlan& plan, Progress& progress);

}  // namespace yoloquant::pipeline
