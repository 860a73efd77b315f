#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "eval/fidelity.h"
#include "graph/passes.h"

namespace yoloquant::pipeline {

struct EvalOptions;

// Fidelity of a model to a reference model, and the files that say so.
struct FidelityResult {
  std::filesystem::path onnx_path;
  std::filesystem::path reference_path;  // of the reference's ONNX file
  graph::Head head = graph::Head::kOneToMany;
  graph::Head reference_head = graph::Head::kOneToMany;
  std::string provider;
  int64_t image_height = 0;
  int64_t image_width = 0;
  eval::Fidelity fidelity;
  std::vector<std::filesystem::path> images;  // in the order of their ids
  std::vector<int64_t> image_ids;
  std::vector<std::string> warnings;

  std::filesystem::path fidelity_path;              // OUT/fidelity.json
  std::filesystem::path per_class_path;             // OUT/fidelity_per_class.csv
  std::filesystem::path per_image_path;             // OUT/fidelity_per_image.csv
  std::filesystem::path detections_path;            // OUT/detections.json
  std::filesystem::path reference_detections_path;  // OUT/reference_detections.json

  // Of one of `image_ids`.
  const std::filesystem::path& image(int64_t id) const;
};

// Compares `model` with the model `options.against` on `options.images` (the first
// `options.max_images` of them), which need no labels: see eval/fidelity.h. Both may be what
// load_model takes; their heads, input sizes and batches may differ, their classes may not. An
// image's id is its place in the list, from 0. What is not ONNX is exported first, the reference to
// OUT/reference. The figures are those of the written detections. Throws Error (usage) when there
// is no image or the classes differ, Error when the reference has no confident detection at all.
FidelityResult evaluate_fidelity(const std::string& model, const std::filesystem::path& out,
                                 const EvalOptions& options, Progress& progress = Progress::none());

}  // namespace yoloquant::pipeline
