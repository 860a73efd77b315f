#include "pipeline/bench.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "runtime/diff.h"

namespace yoloquant::pipeline {
namespace {

constexpr int64_t kDefaultExtent = 640;

// Random images of the size that the file wants, or of the asked-for one where it is open.
Tensor input_for(const runtime::Session& session, const BenchOptions& options) {
  if (session.inputs().size() != 1) fail("the file has {} inputs", session.inputs().size());
  Shape shape = session.inputs()[0].shape;
  if (shape.size() != 4) fail("its input {} is no image batch", shape_string(shape));
  const Shape fallback{std::max<int64_t>(options.batch, 1), 3,
                       options.image_height > 0 ? options.image_height : kDefaultExtent,
                       options.image_width > 0 ? options.image_width : kDefaultExtent};
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] <= 0) shape[axis] = fallback[axis];
  }
  runtime::DynamicSizes sizes{.batch = shape[0], .channels = shape[1], .extent = shape[2]};
  if (shape[2] == shape[3]) return runtime::random_inputs(session, 0, sizes)[0];
  // Different open extents: a plain grey image does for timing.
  Tensor image(DType::kFloat32, shape);
  std::ranges::fill(image.mutable_data<float>(), 0.5F);
  return image;
}

}  // namespace

std::vector<BenchRow> bench(const std::vector<std::filesystem::path>& files,
                            const BenchOptions& options, Progress& progress) {
  if (files.empty()) fail_usage("name at least one ONNX file");
  const runtime::SessionOptions session_options{.provider = options.provider,
                                                .device = options.device,
                                                .threads = options.threads,
                                                .graph_optimization = options.graph_optimization};
  progress.start("loading", static_cast<int64_t>(files.size()));
  std::vector<runtime::Session> sessions;
  std::vector<BenchRow> rows;
  std::optional<Tensor> input;
  for (const auto& file : files) {
    with_context(file.string(), [&] {
      sessions.emplace_back(file, session_options);
      const Tensor own = input_for(sessions.back(), options);
      if (!input) input = own;
      if (own.shape() != input->shape()) {
        fail("takes {}, {} takes {}: only files of one input size can be compared",
             shape_string(own.shape()), files[0].string(), shape_string(input->shape()));
      }
      BenchRow row;
      row.path = file;
      row.provider = sessions.back().provider();
      row.fallback_reason = sessions.back().fallback_reason();
      row.file_bytes = static_cast<int64_t>(std::filesystem::file_size(file));
      row.batch = own.dim(0);
      rows.push_back(row);
    });
    progress.update(static_cast<int64_t>(rows.size()));
  }
  std::vector<runtime::Session*> pointers;
  for (runtime::Session& session : sessions) pointers.push_back(&session);
  progress.start("timing", 1);
  const runtime::LatencyComparison comparison =
      runtime::compare_latency(pointers, options.warmup_runs, options.runs, {*input});
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].latency = comparison.each[i];
    rows[i].ratio = comparison.ratios[i];
  }
  progress.update(1);
  progress.finish();
  return rows;
}

nlohmann::ordered_json bench_json(const std::vector<BenchRow>& rows) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const BenchRow& row : rows) {
    json.push_back(
        {{"path", row.path.string()},
         {"provider", row.provider},
         {"provider_fallback", row.fallback_reason},
         {"file_bytes", row.file_bytes},
         {"batch", row.batch},
         {"runs", row.latency.runs_ms.size()},
         {"mean_ms", row.latency.mean_ms},
         {"median_ms", row.latency.median_ms},
         {"p90_ms", row.latency.p90_ms},
         {"throughput_fps", row.latency.throughput_fps},
         {"ratio",
          {{"median", row.ratio.median}, {"low", row.ratio.low}, {"high", row.ratio.high}}}});
  }
  return json;
}

}  // namespace yoloquant::pipeline
