#include "pipeline/metrics_files.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "eval/metrics.h"
#include "eval/precision_recall.h"
#include "graph/passes.h"
#include "pipeline/environment.h"

namespace yoloquant::pipeline {
namespace {

using nlohmann::ordered_json;

ordered_json latency_json(const std::optional<runtime::Latency>& latency) {
  if (!latency) return nullptr;
  return {{"mean_ms", latency->mean_ms},
          {"median_ms", latency->median_ms},
          {"p90_ms", latency->p90_ms},
          {"throughput_fps", latency->throughput_fps}};
}

ordered_json own_json(const EvalResult& result, const EvalOptions& options,
                      const data::CocoDataset& dataset, const std::vector<int64_t>& image_ids) {
  ordered_json json = eval::detailed_metrics_json(
      result.coco, eval::best_operating_point(result.coco.matches), result.intervals);
  json["head"] = graph::head_name(result.head);
  json["provider_fallback"] = result.fallback_reason;
  json["onnx_sha256"] = sha256_of_file(result.onnx_path);
  json["onnx_bytes"] = std::filesystem::file_size(result.onnx_path);
  json["instances_sha256"] = sha256_of_file(dataset.annotation_file());
  json["image_ids"] = image_ids;
  json["bootstrap"] = {{"resamples", options.bootstrap_resamples},
                       {"seed", options.bootstrap_seed}};
  json["latency_runs"] = options.skip_latency ? 0 : options.latency_runs;
  json["threads"] = options.threads;
  json.update(versions_json());
  json["seconds"] = result.inference_seconds;
  json["warnings"] = result.warnings;
  if (result.fidelity) {
    json["fidelity"] = eval::fidelity_json(result.fidelity->fidelity);
    json["fidelity"]["reference_path"] = result.fidelity->reference_path.string();
  }
  if (result.difference) json["difference"] = eval::intervals_json(*result.difference);
  return json;
}

std::string per_class_csv(const eval::CocoResult& result) {
  std::string text =
      "category_id,name,num_ground_truths,num_detections,AP,AP_50,AP_75,AP_small,AP_medium,"
      "AP_large,AR_100\n";
  for (const eval::ClassFigures& row : result.classes) {
    const eval::CocoFigures& f = row.figures;
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{}\n", row.category_id, csv_field(row.name),
                        row.num_ground_truths, row.num_detections, f.ap, f.ap50, f.ap75, f.ap_small,
                        f.ap_medium, f.ap_large, f.ar100);
  }
  return text;
}

}  // namespace

ordered_json image_size_json(int64_t height, int64_t width) {
  if (height == width) return height;
  return ordered_json::array({height, width});
}

ordered_json number_json(float value) { return std::stod(fmt::format("{}", value)); }

ordered_json versions_json() {
  const Environment here = environment();
  return {{"version", here.yoloquant_version},
          {"git_hash", here.git_hash},
          {"libraries", here.libraries}};
}

void write_metrics_files(EvalResult& result, const EvalOptions& options,
                         const data::CocoDataset& dataset, const std::vector<int64_t>& image_ids,
                         const std::filesystem::path& out) {
  const ordered_json metrics{
      {"onnx_path", result.onnx_path.string()},
      {"data_root", options.coco_root.string()},
      {"instances", dataset.annotation_file().string()},
      {"images_dir", dataset.image_folder().string()},
      {"providers", ordered_json::array({result.provider})},
      {"imgsz", image_size_json(result.image_height, result.image_width)},
      {"max_images",
       options.max_images > 0 ? options.max_images : static_cast<int64_t>(image_ids.size())},
      {"warmup_runs", options.warmup_runs},
      {"skip_latency", options.skip_latency},
      {"conf", number_json(options.conf)},
      {"iou", number_json(options.iou)},
      {"max_det", options.max_det},
      {"pre_nms_topk", options.pre_nms_topk},
      {"metrics", eval::metrics_json(result.coco)},
      {"latency", latency_json(result.latency)},
      {"yoloquant", own_json(result, options, dataset, image_ids)}};
  result.per_class_path = out / "per_class.csv";
  write_file(result.per_class_path, per_class_csv(result.coco));
  result.metrics_path = out / "metrics.json";
  write_file(result.metrics_path, metrics.dump(2) + "\n");
}

}  // namespace yoloquant::pipeline
