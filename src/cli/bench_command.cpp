#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "pipeline/bench.h"

namespace yoloquant::cli {

namespace {

struct BenchArguments {
  std::vector<std::filesystem::path> files;
  std::optional<ImageSize> image_size;
  pipeline::BenchOptions options;
  Device device;

  void declare(Options& o) {
    o.section("Arguments");
    o.positional("files", &files, "ONNX files; the first one is what the others are compared with")
        .is_required()
        .value_name("FILE")
        .completes(Completion::kFiles);
    o.section("Measurement");
    o.add("runs", &options.runs, "timed runs of each").between(1, 1000000);
    o.add("warmup-runs", &options.warmup_runs, "untimed runs before").between(0, 100000);
    o.add("batch", &options.batch, "images a run, of files with a dynamic batch").between(1, 4096);
    o.add("imgsz", &image_size, "input size in pixels, of files with dynamic sizes (640)");
    o.add("graph-optimization", &options.graph_optimization,
          "let ONNX Runtime fuse and reorder nodes");
    o.section("Computation");
    declare_device(o, &device);
  }
};

int run_bench(const BenchArguments& arguments, Context& context) {
  pipeline::BenchOptions options = arguments.options;
  if (arguments.image_size) {
    options.image_height = arguments.image_size->height;
    options.image_width = arguments.image_size->width;
  }
  options.provider = arguments.device.provider;
  options.device = arguments.device.index;
  options.threads = context.threads();
  const std::vector<pipeline::BenchRow> rows =
      pipeline::bench(arguments.files, options, context.progress());

  std::vector<std::vector<std::string>> table = {{"file", "provider", "size", "mean ms",
                                                  "median ms", "p90 ms", "images/s", "ratio",
                                                  "95 % interval"}};
  for (const pipeline::BenchRow& row : rows) {
    const bool asked = options.provider != runtime::Provider::kAuto;
    if (asked && !row.fallback_reason.empty()) {
      context.warn("{}: {}", row.path.string(), row.fallback_reason);
    }
    table.push_back(
        {row.path.string(), row.provider, human_bytes(static_cast<double>(row.file_bytes)),
         fmt::format("{:.2f}", row.latency.mean_ms), fmt::format("{:.2f}", row.latency.median_ms),
         fmt::format("{:.2f}", row.latency.p90_ms),
         fmt::format("{:.1f}", row.latency.throughput_fps), fmt::format("{:.3f}", row.ratio.median),
         fmt::format("{:.3f} to {:.3f}", row.ratio.low, row.ratio.high)});
  }
  for (const pipeline::BenchRow& row : rows) {
    if (row.ratio.low <= 1) continue;  // not beyond doubt
    context.info("{} is slower than {}: {:.2f} times as long", row.path.string(),
                 rows.front().path.string(), row.ratio.median);
  }
  context.result(pipeline::bench_json(rows), format_table(table));
  return 0;
}

}  // namespace

Command bench_command() {
  CommandInfo info;
  info.name = "bench";
  info.summary = "time ONNX files against each other";
  info.details =
      "Times ONNX files in turn, round by round, so that all meet the same state of the machine, "
      "and "
      "gives each one's time as a ratio of the first one's with its interval. A ratio above 1 is "
      "slower.";
  info.examples = {{"What quantization does to latency",
                    "yoloquant bench yolov10n.onnx yolov10n_w8a8.onnx --runs 100 --threads 2"}};
  return define<BenchArguments>(std::move(info), run_bench);
}

}  // namespace yoloquant::cli
