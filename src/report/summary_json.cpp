#include <nlohmann/json.hpp>

#include "report/summary.h"

namespace yoloquant::report {
namespace {

using nlohmann::ordered_json;

ordered_json to_json(const Interval& interval) {
  return {{"estimate", interval.estimate}, {"low", interval.low}, {"high", interval.high}};
}

ordered_json to_json(const Variant& v) {
  ordered_json json{{"name", v.name},
                    {"method", v.method},
                    {"onnx", v.onnx},
                    {"check", v.check},
                    {"quantize", v.quantize},
                    {"metrics", v.metrics},
                    {"file_bytes", v.file_bytes},
                    {"op_counts", v.op_counts},
                    {"mAP_50_95", v.map_50_95},
                    {"mAP_50", v.map_50},
                    {"provider", v.provider}};
  if (v.map_interval) json["mAP_50_95_interval"] = to_json(*v.map_interval);
  if (v.difference) json["difference"] = to_json(*v.difference);
  if (v.gain) {
    json["trained_from"] = v.trained_from;
    json["gain"] = to_json(*v.gain);
  }
  if (v.fidelity >= 0) json["fidelity"] = v.fidelity;
  if (v.fidelity_interval) json["fidelity_interval"] = to_json(*v.fidelity_interval);
  if (v.latency) {
    json["latency"] = {{"mean_ms", v.latency->mean_ms},
                       {"median_ms", v.latency->median_ms},
                       {"p90_ms", v.latency->p90_ms},
                       {"ratio", to_json(v.latency->ratio)}};
  }
  if (v.verification) {
    json["verification"] = {{"max_box_pixels", v.verification->max_box_pixels},
                            {"max_score", v.verification->max_score},
                            {"relative_score", v.verification->relative_score},
                            {"worst_conv", v.verification->worst_conv}};
  }
  return json;
}

}  // namespace

ordered_json summary_json(const RunSummary& summary) {
  ordered_json variants = ordered_json::array();
  for (const Variant& variant : summary.variants) variants.push_back(to_json(variant));
  ordered_json stages = ordered_json::array();
  for (const StageTime& stage : summary.stages) {
    stages.push_back(
        {{"name", stage.name}, {"seconds", stage.seconds}, {"skipped", stage.skipped}});
  }
  return {{"title", summary.title},        {"model", summary.model},
          {"data", summary.data},          {"images", summary.image_count},
          {"head", summary.head},          {"image_size", summary.image_size},
          {"hardware", summary.hardware},  {"warnings", summary.warnings},
          {"findings", findings(summary)}, {"variants", std::move(variants)},
          {"stages", std::move(stages)},   {"files", summary.files}};
}

}  // namespace yoloquant::report
