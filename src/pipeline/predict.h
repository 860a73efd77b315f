#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/box.h"
#include "graph/passes.h"
#include "runtime/session.h"

namespace yoloquant::pipeline {

struct PredictOptions {
  float conf = 0.25F;
  float iou = 0.7F;
  int64_t max_det = 300;
  graph::Head head = graph::Head::kBoth;  // as EvalOptions::head
  std::optional<uint64_t> seed;           // of a definition's weights
  int64_t image_height = 0;               // pixels; 0: the file's own, or 640
  int64_t image_width = 0;
  runtime::Provider provider = runtime::Provider::kAuto;
  int device = 0;
  int threads = 0;
  bool write_images = true;  // OUT/images/STEM.jpg with boxes drawn
  bool write_txt = true;     // OUT/labels/STEM.txt: class cx cy w h conf, relative to the image
};

struct Prediction {
  data::Box box;  // image pixels
  int32_t class_id = 0;
  std::string class_name;
  double score = 0;
};

struct ImagePredictions {
  std::filesystem::path image;
  int width = 0;
  int height = 0;
  std::vector<Prediction> predictions;  // by falling score
};

struct PredictResult {
  std::vector<ImagePredictions> images;
  std::string provider;
  std::filesystem::path json_path;  // OUT/predictions.json
  std::vector<std::string> warnings;
};

// Detects on an image, a folder or a list file, and writes predictions.json and what the options
// ask for under `out`. Images of one stem in different folders get numbered names.
PredictResult predict(const std::string& model, const std::filesystem::path& source,
                      const std::filesystem::path& out, const PredictOptions& options = {},
                      Progress& progress = Progress::none());

}  // namespace yoloquant::pipeline
