#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "eval/bootstrap.h"
#include "eval/coco_evaluator.h"
#include "eval/fidelity.h"
#include "eval/precision_recall.h"

namespace yoloquant::eval {

// The `metrics` object of metrics.json: mAP_50_95, mAP_50, mAP_75, mAP_small, mAP_medium,
// mAP_large, num_images, num_detections, in this order. Undefined figures are -1, as COCO's tools
// have it.
nlohmann::ordered_json metrics_json(const CocoResult& result);

// What we add to it: average recalls (AR_1, AR_10, AR_100, AR_small, AR_medium, AR_large), a table
// `per_class`, and where given `precision`, `recall`, `f1`, `conf` and `confidence_interval`.
nlohmann::ordered_json detailed_metrics_json(
    const CocoResult& result, const std::optional<OperatingPoint>& operating_point = {},
    const std::optional<BootstrapIntervals>& intervals = {});

// fidelity, fidelity_50, reference_boxes, missed, extra.
nlohmann::ordered_json figures_json(const FidelityFigures& figures);

// The same of all images, num_images, images_without_reference, and where given
// `confidence_interval`; no tables.
nlohmann::ordered_json fidelity_json(const Fidelity& fidelity);

// {"mAP_50_95": {"estimate", "low", "high", "standard_error"}, "mAP_50"}
nlohmann::ordered_json intervals_json(const BootstrapIntervals& intervals);

}  // namespace yoloquant::eval
