#pragma once

#include <filesystem>
#include <string>

#include "base/progress.h"
#include "pipeline/run.h"

namespace yoloquant::pipeline {

struct DemoOptions {
  std::string model;           // "": the embedded default
  std::filesystem::path data;  // COCO root; "": synthetic shapes made on the fly
  std::filesystem::path out;   // run root; "": ./tmp/demo/RUN-ID
  bool resume = false;
  int64_t max_images = 16;  // evaluated
  int64_t calib_images = 8;
  int64_t image_size = 0;  // pixels; 0: 320 for the embedded default, else the model's own
  std::vector<std::string> schemes{"w8a16", "w8a8", "w4a16", "w4a8"};
  uint64_t seed = 0;  // of the synthetic images
  int threads = 0;
};

// A whole run on an example. The default ends within two minutes on two cores; its weights are not
// trained, which the summary says.
RunResult run_demo(const DemoOptions& options = {}, Progress& progress = Progress::none());

}  // namespace yoloquant::pipeline
