#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "pipeline/run.h"

namespace yoloquant::pipeline {

struct DemoOptions {
  std::string model;           // "": the embedded one, assets/shapes.pt
  std::filesystem::path data;  // COCO root; "": synthetic shapes made on the fly
  std::filesystem::path out;   // run root; "": ./tmp/demo/RUN-ID
  bool resume = false;
  int64_t max_images = 60;    // evaluated
  int64_t calib_images = 32;  // drawn from the training images
  int64_t image_size = 0;     // pixels; 0: 320 for the embedded model, else the model's own
  // Of the last one the reference's quantization and a training are shown too.
  std::vector<std::string> schemes{"w8a8", "w4a8"};
  std::optional<int64_t> qat_epochs;  // of the training; absent: 2 for the embedded model, else 0
  int64_t qat_images = 96;            // to train on
  uint64_t seed = 0;                  // of the synthetic images
  int threads = 0;
  TrainEvents events;
};

// A whole run on an example, in RUN_ROOT: the embedded model in shapes.pt, synthetic images in
// data/, and what run_pipeline leaves. The default takes about a minute and a half on two cores.
RunResult run_demo(const DemoOptions& options = {}, Progress& progress = Progress::none());

}  // namespace yoloquant::pipeline
