#include "eval/metrics.h"

#include <nlohmann/json.hpp>

namespace yoloquant::eval {

using nlohmann::ordered_json;

namespace {

ordered_json interval_json(const Interval& interval) {
  return {{"estimate", interval.estimate},
          {"low", interval.low},
          {"high", interval.high},
          {"standard_error", interval.standard_error}};
}

}  // namespace

ordered_json metrics_json(const CocoResult& result) {
  const CocoFigures& f = result.figures;
  return {{"mAP_50_95", f.ap},
          {"mAP_50", f.ap50},
          {"mAP_75", f.ap75},
          {"mAP_small", f.ap_small},
          {"mAP_medium", f.ap_medium},
          {"mAP_large", f.ap_large},
          {"num_images", result.num_images},
          {"num_detections", result.num_detections}};
}

ordered_json intervals_json(const BootstrapIntervals& intervals) {
  return {{"mAP_50_95", interval_json(intervals.map_50_95)},
          {"mAP_50", interval_json(intervals.map_50)}};
}

ordered_json figures_json(const FidelityFigures& figures) {
  return {{"fidelity", figures.fidelity},
          {"fidelity_50", figures.fidelity_50},
          {"reference_boxes", figures.reference_boxes},
          {"missed", figures.missed},
          {"extra", figures.extra}};
}

ordered_json fidelity_json(const Fidelity& fidelity) {
  ordered_json json = figures_json(fidelity.figures);
  json["image_mean"] = fidelity.image_mean;
  json["num_images"] = fidelity.num_images;
  json["images_without_reference"] = fidelity.images_without_reference;
  if (fidelity.intervals) {
    json["confidence_interval"] = {{"fidelity", interval_json(fidelity.intervals->map_50_95)},
                                   {"fidelity_50", interval_json(fidelity.intervals->map_50)}};
  }
  return json;
}

ordered_json detailed_metrics_json(const CocoResult& result,
                                   const std::optional<OperatingPoint>& operating_point,
                                   const std::optional<BootstrapIntervals>& intervals) {
  const CocoFigures& f = result.figures;
  ordered_json json{{"AR_1", f.ar1},          {"AR_10", f.ar10},          {"AR_100", f.ar100},
                    {"AR_small", f.ar_small}, {"AR_medium", f.ar_medium}, {"AR_large", f.ar_large}};
  if (operating_point) {
    json["precision"] = operating_point->precision;
    json["recall"] = operating_point->recall;
    json["f1"] = operating_point->f1;
    json["conf"] = operating_point->conf;
  }
  if (intervals) {
    json["confidence_interval"] = intervals_json(*intervals);
  }
  ordered_json table = ordered_json::array();
  for (const ClassFigures& item : result.classes) {
    table.push_back({{"category_id", item.category_id},
                     {"name", item.name},
                     {"num_ground_truths", item.num_ground_truths},
                     {"num_detections", item.num_detections},
                     {"AP", item.figures.ap},
                     {"AP_50", item.figures.ap50},
                     {"AP_75", item.figures.ap75},
                     {"AR_100", item.figures.ar100}});
  }
  json["per_class"] = std::move(table);
  return json;
}

}  // namespace yoloquant::eval
