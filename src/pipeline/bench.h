#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/progress.h"
#include "runtime/latency.h"
#include "runtime/session.h"

namespace yoloquant::pipeline {

struct BenchOptions {
  int runs = 50;
  int warmup_runs = 10;
  int64_t batch = 1;         // of dynamic files
  int64_t image_height = 0;  // pixels, of dynamic files; 0: 640
  int64_t image_width = 0;
  runtime::Provider provider = runtime::Provider::kAuto;
  int device = 0;
  int threads = 0;  // <= 0: all CPUs
  bool graph_optimization = true;
};

struct BenchRow {
  std::filesystem::path path;
  std::string provider;
  std::string fallback_reason;
  int64_t file_bytes = 0;
  int64_t batch = 1;
  runtime::Latency latency;     // batch images a run
  runtime::LatencyRatio ratio;  // of the first file's time: above 1 is slower
};

// Times ONNX files in turn, round by round, so that all meet the same state of the machine. Throws
// Error (usage) for an empty list.
std::vector<BenchRow> bench(const std::vector<std::filesystem::path>& files,
                            const BenchOptions& options = {},
                            Progress& progress = Progress::none());

nlohmann::ordered_json bench_json(const std::vector<BenchRow>& rows);

}  // namespace yoloquant::pipeline
