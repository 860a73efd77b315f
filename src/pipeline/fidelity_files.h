#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "pipeline/fidelity.h"

// Internal to the layer.
namespace yoloquant::pipeline {

// Writes OUT/fidelity.json, OUT/fidelity_per_class.csv and OUT/fidelity_per_image.csv and sets
// their paths. fidelity.json has the keys onnx_path, reference_path, providers, imgsz, conf, iou,
// max_det, pre_nms_topk, reference_score, metrics, and all else under `yoloquant`.
void write_fidelity_files(FidelityResult& result, const EvalOptions& options,
                          const std::filesystem::path& out);

// {"per_class": [...], "per_image": [...]}, worst first. Classes that neither model sees are left
// out; `file_of` gives an image's file by its id.
nlohmann::ordered_json fidelity_tables_json(const eval::Fidelity& fidelity,
                                            const std::function<std::string(int64_t)>& file_of);

}  // namespace yoloquant::pipeline
