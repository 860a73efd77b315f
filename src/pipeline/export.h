#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/progress.h"
#include "graph/passes.h"
#include "onnx/check.h"
#include "onnx/writer.h"
#include "pipeline/load_model.h"

namespace yoloquant::pipeline {

struct ExportOptions {
  graph::Head head = graph::Head::kOneToMany;
  onnx::Precision precision = onnx::Precision::kFloat32;
  int opset = 13;        // onnx::kMinOpset..kMaxOpset
  bool dynamic = false;  // symbolic batch, height and width
  int64_t batch = 1;
  int64_t image_height = 0;  // pixels; 0: the model's own (640)
  int64_t image_width = 0;
  int64_t max_detections = 300;  // of the end2end head
};

struct ExportResult {
  std::filesystem::path path;
  graph::Head head = graph::Head::kOneToMany;
  onnx::CheckReport check;  // of the written file; without problems
};

// Writes the model for inference (batch norms folded, branches merged, one head) to `out`,
// atomically. Throws Error when the written file does not pass onnx::check; `out` is then as it was
// before.
ExportResult export_onnx(const LoadedModel& model, const std::filesystem::path& out,
                         const ExportOptions& options = {}, Progress& progress = Progress::none());

}  // namespace yoloquant::pipeline
