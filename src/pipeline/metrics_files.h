#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "data/coco_dataset.h"
#include "pipeline/evaluate.h"

// Internal to the layer.
namespace yoloquant::pipeline {

// Writes OUT/metrics.json and OUT/per_class.csv and sets their paths. metrics.json has the keys
// onnx_path, data_root, instances, images_dir, providers, imgsz, max_images, warmup_runs,
// skip_latency, conf, iou, max_det, pre_nms_topk, metrics, latency, and what is ours alone under
// `yoloquant`. `latency` is null when it was skipped.
void write_metrics_files(EvalResult& result, const EvalOptions& options,
                         const data::CocoDataset& dataset, const std::vector<int64_t>& image_ids,
                         const std::filesystem::path& out);

// What metrics.json and fidelity.json have in common.
// 640, or [height, width] where they differ.
nlohmann::ordered_json image_size_json(int64_t height, int64_t width);
// The number as it is written: .001F is 0.0010000000474974513 as a double.
nlohmann::ordered_json number_json(float value);
// version, git_hash, libraries
nlohmann::ordered_json versions_json();

}  // namespace yoloquant::pipeline
