#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "eval/coco_evaluator.h"

namespace yoloquant::eval {

// COCO's result format: [{"image_id": 139, "category_id": 72, "bbox": [x, y, width, height],
// "score": 0.9}, ...]. Other keys are ignored. Reading streams the file: memory holds the
// detections and little more. Throws Error with the index and byte offset of what is malformed.
std::vector<CocoDetection> read_detections(const std::filesystem::path& path);

// Values are written with at most `digits` decimals in boxes and the shortest text that reads back
// to the same float in scores, so that the order by score survives.
void write_detections(const std::filesystem::path& path, std::span<const CocoDetection> detections,
                      int digits = 3);

}  // namespace yoloquant::eval
