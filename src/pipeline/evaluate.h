#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/coco_dataset.h"
#include "eval/bootstrap.h"
#include "eval/coco_evaluator.h"
#include "graph/passes.h"
#include "pipeline/fidelity.h"
#include "runtime/latency.h"
#include "runtime/session.h"

namespace yoloquant::pipeline {

struct EvalOptions {
  std::filesystem::path coco_root;
  std::string split = "val2017";
  int64_t max_images = 0;          // the first N by id; 0: all
  std::vector<int64_t> image_ids;  // these instead, when not empty

  // A model to compare with (as for load_model), for fidelity; "": none.
  std::string against;
  std::filesystem::path images;   // evaluate_fidelity: see data::read_image_list
  double reference_score = 0.25;  // detections of `against` from this score on are its ground truth

  float conf = 0.001F;
  float iou = 0.7F;
  int64_t max_det = 300;
  int64_t pre_nms_topk = 30000;

  // The head to export from a checkpoint or definition, and what an ONNX file's raw output is taken
  // for when its metadata does not say. kBoth: the file's metadata, one2many without it.
  graph::Head head = graph::Head::kBoth;
  std::optional<uint64_t> seed;  // of a definition's weights, see LoadOptions
  int64_t image_height = 0;      // pixels; 0: the file's own, 640 when that is dynamic
  int64_t image_width = 0;

  runtime::Provider provider = runtime::Provider::kAuto;
  int device = 0;   // index of the GPU
  int threads = 0;  // <= 0: all CPUs

  bool skip_latency = false;
  int warmup_runs = 10;
  int latency_runs = 50;

  int bootstrap_resamples = 1000;  // 0: no confidence intervals
  uint64_t bootstrap_seed = 0;
};

eval::BootstrapOptions bootstrap_options(const EvalOptions& options);

// Scores detections that were written as evaluate_model writes them; keeps their matches.
eval::CocoResult score_detections(const data::CocoDataset& dataset, const std::vector<int64_t>& ids,
                                  const std::filesystem::path& detections,
                                  const EvalOptions& options);

struct EvalResult {
  std::filesystem::path onnx_path;
  graph::Head head = graph::Head::kOneToMany;
  std::string provider;         // "CPUExecutionProvider"
  std::string fallback_reason;  // why not the preferred one; ""
  int64_t image_height = 0;
  int64_t image_width = 0;
  eval::CocoResult coco;
  std::optional<eval::BootstrapIntervals> intervals;
  std::optional<runtime::Latency> latency;
  std::optional<FidelityResult> fidelity;  // on the same images, when asked for
  // mAP minus that of `against`, paired by image.
  std::optional<eval::BootstrapIntervals> difference;
  double inference_seconds = 0;  // of the whole pass over the images, reading included
  std::vector<std::string> warnings;

  std::filesystem::path metrics_path;     // OUT/metrics.json
  std::filesystem::path detections_path;  // OUT/detections.json, COCO's result format
  std::filesystem::path per_class_path;   // OUT/per_class.csv
};

// Scores a model on a COCO-format data set with ONNX Runtime; MODEL as for load_model, what is not
// ONNX is exported to OUT/NAME_HEAD.onnx first. The figures are those of the written
// detections.json. With `against`, fidelity and the difference of mAP are measured on the same
// images, and fidelity's files (see evaluate_fidelity) are written too. Throws Error when the class
// counts of model and data set differ.
EvalResult evaluate_model(const std::string& model, const std::filesystem::path& out,
                          const EvalOptions& options, Progress& progress = Progress::none());

// Kind of output of an ONNX file, from its shape and metadata. `wanted` decides what those leave
// open. Throws Error for shapes that are no detector's.
struct OutputKind {
  graph::Head head = graph::Head::kOneToMany;
  int64_t class_count = 0;  // 0: not known (end2end without metadata)
  bool rows = false;        // one2many as [N, boxes, 5 + classes], see eval::decode_rows
};
OutputKind output_kind(const std::filesystem::path& onnx, graph::Head wanted = graph::Head::kBoth);

}  // namespace yoloquant::pipeline
