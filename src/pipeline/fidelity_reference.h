#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/detector.h"
#include "pipeline/fidelity.h"

// Internal to the layer: the steps of a comparison with a reference model.
namespace yoloquant::pipeline {

// A reference model that has been run.
struct Reference {
  std::filesystem::path onnx;
  graph::Head head = graph::Head::kOneToMany;
  std::filesystem::path detections;  // OUT/reference_detections.json
  std::vector<std::string> warnings;
};

// The ONNX file of `options.against`: itself, or an export under OUT/reference with the head of the
// file `model`.
PreparedModel prepare_reference(const std::filesystem::path& model,
                                const std::filesystem::path& out, const EvalOptions& options,
                                Progress& progress);

// Runs it on the images. Throws Error (usage) when its classes are not those of `model`.
Reference detect_reference(const PreparedModel& prepared, const Detector& model,
                           const ImageSet& images, const std::filesystem::path& out,
                           const EvalOptions& options, Progress& progress);

// Scores the written detections of `model` and writes the files. Warns when the reference has no
// confident detection.
FidelityResult compare_with_reference(const Reference& reference, const Detector& model,
                                      const ImageSet& images,
                                      const std::filesystem::path& detections,
                                      const std::filesystem::path& out, const EvalOptions& options);

eval::FidelityOptions fidelity_options(const EvalOptions& options);

}  // namespace yoloquant::pipeline
