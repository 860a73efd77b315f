#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

// What a run found, and its presentation. Pure functions: results in, text out.
namespace yoloquant::report {

struct Interval {
  double estimate = 0;
  double low = 0;
  double high = 0;
};

// Latency of one image in the comparison in which all variants took turns.
struct VariantLatency {
  double mean_ms = 0;
  double median_ms = 0;
  double p90_ms = 0;
  Interval ratio{1, 1, 1};  // to the baseline's time; above 1 is slower
};

// Largest differences between the simulator and ONNX Runtime, see pipeline::Verification.
struct VariantVerification {
  double max_box_pixels = 0;
  double max_score = 0;
  double relative_score = 0;
  double worst_conv = 0;  // relative, a conv by itself
};

struct Variant {
  std::string name;    // "fp32", "fp16", "w8a8"
  std::string method;  // "", "nearest", later "qat"
  std::string onnx;    // path below the run root; so are all below
  std::string check;
  std::string quantize;  // "" for a baseline
  std::string metrics;
  int64_t file_bytes = 0;
  std::map<std::string, int64_t> op_counts;
  double map_50_95 = -1;
  double map_50 = -1;
  std::optional<Interval> map_interval;  // of map_50_95
  std::optional<Interval> difference;    // map_50_95 minus the baseline's, paired
  std::string trained_from;              // variant that a training started from
  std::optional<Interval> gain;          // map_50_95 minus that variant's, paired
  // mAP50-95 of the detections with the baseline's confident ones as ground truth; -1: not defined,
  // as for the baseline itself.
  double fidelity = -1;
  std::optional<Interval> fidelity_interval;
  std::optional<VariantLatency> latency;
  std::optional<VariantVerification> verification;
  std::string provider;
};

struct StageTime {
  std::string name;
  double seconds = 0;
  bool skipped = false;  // taken over from the run before
};

struct RunSummary {
  std::string title;  // "yolov10n"
  std::string model;  // what was given
  std::string data;   // "coco, val2017"
  int64_t image_count = 0;
  std::string head;
  std::string image_size;         // "640 x 640"
  std::string hardware;           // "2 CPUs, ...; no GPU"
  std::vector<Variant> variants;  // the baseline first
  std::vector<StageTime> stages;
  std::vector<std::string> warnings;
  std::map<std::string, std::string> files;  // what -> path below the run root, for tracing
};

// What is wrong with a result and what to try: slower than the baseline, a loss above .05, a file
// that did not shrink.
std::vector<std::string> findings(const RunSummary& summary);

// What trainings have gained, a line each; "": none.
std::string gain_text(const RunSummary& summary);

// A table of the variants, findings, where each figure is from, and stage times.
std::string summary_markdown(const RunSummary& summary);
nlohmann::ordered_json summary_json(const RunSummary& summary);
// mAP and fidelity (with intervals) and file size of each variant as bars. Standalone SVG.
std::string summary_svg(const RunSummary& summary);

}  // namespace yoloquant::report
