#include "pipeline/export.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "pipeline/inference_graph.h"
#include "pipeline/write_checked.h"

namespace yoloquant::pipeline {

onnx::CheckReport write_checked(const graph::Graph& graph, const std::filesystem::path& path,
                                const onnx::WriteOptions& options) {
  onnx::write(graph, path, options);
  onnx::CheckReport report = onnx::check(path);
  if (!report.ok())
    fail("{}: the written file is not valid: {}", path.string(), report.problems[0]);
  return report;
}

ExportResult export_onnx(const LoadedModel& model, const std::filesystem::path& out,
                         const ExportOptions& options, Progress& progress) {
  progress.start("exporting", 2);
  ExportResult result;
  result.head = result_head(model, options.head);
  const graph::Graph graph = inference_graph(
      model, options.head, graph::Branches::kMerge,
      {options.batch, options.image_height, options.image_width}, options.max_detections);
  progress.update(1);
  AtomicFile file(out);
  result.check = write_checked(
      graph, file.temporary_path(),
      {.precision = options.precision, .opset = options.opset, .dynamic = options.dynamic});
  file.commit();
  result.path = out;
  progress.update(2);
  progress.finish();
  return result;
}

}  // namespace yoloquant::pipeline
