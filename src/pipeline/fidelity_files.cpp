#include "pipeline/fidelity_files.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "eval/metrics.h"
#include "pipeline/evaluate.h"
#include "pipeline/metrics_files.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::string csv_figures(const eval::FidelityFigures& f) {
  return fmt::format("{},{},{},{},{}\n", f.fidelity, f.fidelity_50, f.reference_boxes, f.missed,
                     f.extra);
}

std::string per_class_csv(const eval::Fidelity& fidelity) {
  std::string text = "category_id,name,fidelity,fidelity_50,reference_boxes,missed,extra\n";
  for (const eval::ClassFidelity& item : fidelity.classes) {
    text +=
        fmt::format("{},{},", item.category_id, csv_field(item.name)) + csv_figures(item.figures);
  }
  return text;
}

std::string per_image_csv(const FidelityResult& result) {
  std::string text = "image_id,image,fidelity,fidelity_50,reference_boxes,missed,extra\n";
  for (const eval::ImageFidelity& item : result.fidelity.images) {
    text += fmt::format("{},{},", item.image_id, csv_field(result.image(item.image_id).string())) +
            csv_figures(item.figures);
  }
  return text;
}

ordered_json own_json(const FidelityResult& result, const EvalOptions& options) {
  ordered_json json;
  json["head"] = graph::head_name(result.head);
  json["reference_head"] = graph::head_name(result.reference_head);
  json["onnx_sha256"] = sha256_of_file(result.onnx_path);
  json["reference_sha256"] = sha256_of_file(result.reference_path);
  json["bootstrap"] = {{"resamples", options.bootstrap_resamples},
                       {"seed", options.bootstrap_seed}};
  json["threads"] = options.threads;
  json.update(versions_json());
  json["warnings"] = result.warnings;
  json.update(
      fidelity_tables_json(result.fidelity, [&](int64_t id) { return result.image(id).string(); }));
  return json;
}

}  // namespace

ordered_json fidelity_tables_json(const eval::Fidelity& fidelity,
                                  const std::function<std::string(int64_t)>& file_of) {
  ordered_json classes = ordered_json::array();
  for (const eval::ClassFidelity& item : fidelity.classes) {
    if (item.figures.reference_boxes == 0 && item.figures.extra == 0) continue;
    ordered_json row{{"category_id", item.category_id}, {"name", item.name}};
    row.update(eval::figures_json(item.figures));
    classes.push_back(std::move(row));
  }
  ordered_json images = ordered_json::array();
  for (const eval::ImageFidelity& item : fidelity.images) {
    ordered_json row{{"image_id", item.image_id}, {"image", file_of(item.image_id)}};
    row.update(eval::figures_json(item.figures));
    images.push_back(std::move(row));
  }
  return {{"per_class", std::move(classes)}, {"per_image", std::move(images)}};
}

void write_fidelity_files(FidelityResult& result, const EvalOptions& options, const fs::path& out) {
  const ordered_json json{{"onnx_path", result.onnx_path.string()},
                          {"reference_path", result.reference_path.string()},
                          {"providers", ordered_json::array({result.provider})},
                          {"imgsz", image_size_json(result.image_height, result.image_width)},
                          {"conf", number_json(options.conf)},
                          {"iou", number_json(options.iou)},
                          {"max_det", options.max_det},
                          {"pre_nms_topk", options.pre_nms_topk},
                          {"reference_score", options.reference_score},
                          {"metrics", eval::fidelity_json(result.fidelity)},
                          {"yoloquant", own_json(result, options)}};
  result.per_class_path = out / "fidelity_per_class.csv";
  write_file(result.per_class_path, per_class_csv(result.fidelity));
  result.per_image_path = out / "fidelity_per_image.csv";
  write_file(result.per_image_path, per_image_csv(result));
  result.fidelity_path = out / "fidelity.json";
  write_file(result.fidelity_path, json.dump(2) + "\n");
}

}  // namespace yoloquant::pipeline
