#pragma once

#include <cstdint>
#include <filesystem>
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

}  // namespace yoloquant::pipeline
