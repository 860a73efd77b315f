#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "data/coco_dataset.h"
#include "data/image_list.h"
#include "data/letterbox.h"
#include "eval/decode.h"
#include "pipeline/evaluate.h"
#include "runtime/session.h"

// Internal to the layer: what `eval` and `predict` share.
namespace yoloquant::pipeline {

struct DetectorOptions {
  graph::Head head = graph::Head::kBoth;  // see EvalOptions::head
  int64_t image_height = 0;               // pixels; 0: the file's own, or 640
  int64_t image_width = 0;
  int64_t class_count = 0;  // for files that do not say
  runtime::SessionOptions session;
  eval::DecodeOptions decode;
};
// `class_count`: see above; 0 when it is not known either.
DetectorOptions detector_options(const EvalOptions& options, int64_t class_count);

// An ONNX detector on image files. Reading and decoding run beside the inference.
class Detector {
 public:
  Detector(const std::filesystem::path& onnx, const DetectorOptions& options);

  const std::filesystem::path& path() const { return path_; }
  const OutputKind& kind() const { return kind_; }
  int image_height() const { return height_; }
  int image_width() const { return width_; }
  const std::map<int, std::string>& names() const { return names_; }
  runtime::Session& session() { return session_; }
  const runtime::Session& session() const { return session_; }

  // Hands over each image's detections in the list's order, from another thread than the caller's
  // but never from two at a time.
  using OnImage = std::function<void(size_t index, const data::Letterbox& letterbox,
                                     const std::vector<eval::Detection>& detections)>;
  void run(const data::ImageList& images, const OnImage& on_image, Progress& progress,
           std::string_view task = "detecting");

  // One batch of the network's input with this image in its first place.
  Tensor input_of(const std::filesystem::path& image) const;

 private:
  struct Meta {
    size_t index = 0;
    data::Letterbox letterbox;
  };
  void decode(const Tensor& output, const std::vector<Meta>& metas, const OnImage& on_image) const;
  std::vector<eval::Detection> decode_one(std::span<const float> output) const;

  std::filesystem::path path_;
  DetectorOptions options_;
  OutputKind kind_;
  std::map<int, std::string> names_;
  runtime::Session session_;
  int64_t batch_ = 1;
  int height_ = 0;
  int width_ = 0;
};

// Images to detect on, and under which ids the detections on them are written.
struct ImageSet {
  data::ImageList paths;
  std::vector<int64_t> ids;                    // of each path
  std::vector<data::CocoCategory> categories;  // of class 0, 1, ...
};

// Writes the detections on all images to `path` in COCO's result format.
void detect_to_file(Detector& detector, const ImageSet& images, const std::filesystem::path& path,
                    Progress& progress, std::string_view task = "detecting");

// The ONNX file to run for MODEL: the file itself, or an export under `folder`.
struct PreparedModel {
  std::filesystem::path onnx;
  std::vector<std::string> warnings;
};
struct PrepareOptions {
  graph::Head head = graph::Head::kBoth;  // kBoth: one2many
  std::optional<uint64_t> seed;
  int64_t image_height = 0;
  int64_t image_width = 0;
  int64_t max_detections = 300;
};
PreparedModel prepare_model(const std::string& model, const std::filesystem::path& folder,
                            const PrepareOptions& options, Progress& progress);
PrepareOptions prepare_options(const EvalOptions& options);

}  // namespace yoloquant::pipeline
