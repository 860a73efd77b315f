#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "graph/graph.h"
#include "model/definition.h"

namespace yoloquant::pipeline {

enum class ModelKind : uint8_t { kCheckpoint, kDefinition, kOnnx };
std::string_view model_kind_name(ModelKind kind);  // "checkpoint", "definition", "ONNX"

// What MODEL is, by its name alone: *.onnx, *.yaml or *.yml, anything else a checkpoint.
ModelKind model_kind(const std::string& model);

struct LoadOptions {
  // Of a definition's weights: random by this seed; without one the reproducible formula weights
  // (model::set_formula_parameters). Models that have weights ignore it.
  std::optional<uint64_t> seed = std::nullopt;
  int64_t class_count = 0;  // of a definition; 0: its own nc
  // Pixels; multiples of the largest stride. 0: 640, or what an ONNX file declares.
  int64_t image_height = 0;
  int64_t image_width = 0;
};

struct LoadedModel {
  // Checkpoints and definitions: both heads, batch norms unfolded. ONNX: as the file has it.
  graph::Graph graph;
  ModelKind kind = ModelKind::kCheckpoint;
  std::string name;            // stem of the file: "yolov10n"
  std::filesystem::path path;  // empty for a built-in definition
  std::string sha256;          // of the file, or of a built-in definition's text
  bool trained = true;         // false: random or formula weights, whose accuracy means nothing
  std::optional<model::Definition> definition;       // absent for ONNX
  std::optional<checkpoint::Checkpoint> checkpoint;  // without `state`; for kCheckpoint
  std::vector<std::string> warnings;                 // for the user

  int64_t class_count() const;  // from the graph's outputs
};

// MODEL is a checkpoint (.pt, a dict checkpoint, safetensors), a definition (a file, or a built-in
// name such as "yolov10n.yaml") or an ONNX file. Throws Error that starts with the path.
LoadedModel load_model(const std::string& model, const LoadOptions& options = {});

}  // namespace yoloquant::pipeline
