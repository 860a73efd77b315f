#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "base/file.h"
#include "data/shapes.h"
#include "model/definition.h"
#include "pipeline/run.h"
#include "support/temporary_folder.h"

// A run that takes seconds: YOLOv10n with formula weights at 64 pixels on a few synthetic images.
namespace yoloquant::test {

inline constexpr int64_t kSmallSize = 64;

// The definition of YOLOv10n for the synthetic classes, as a file.
inline std::filesystem::path write_small_definition(const std::filesystem::path& folder) {
  std::string text = model::load_definition("yolov10n.yaml").yaml;
  const std::string classes = "nc: 80";
  text.replace(text.find(classes), classes.size(),
               "nc: " + std::to_string(data::shape_names().size()));
  const auto path = folder / "yolov10n.yaml";
  write_file(path, text);
  return path;
}

inline std::filesystem::path write_small_data(const std::filesystem::path& folder,
                                              int val_images = 3, int train_images = 4) {
  data::ShapesOptions options;
  options.train_images = train_images;
  options.val_images = val_images;
  options.width = 96;
  options.height = 80;
  options.max_objects = 3;
  data::write_shapes(folder / "shapes", options);
  return folder / "shapes";
}

inline pipeline::EvalOptions small_eval(const std::filesystem::path& data) {
  pipeline::EvalOptions options;
  options.coco_root = data;
  options.image_height = options.image_width = kSmallSize;
  options.provider = runtime::Provider::kCpu;
  options.threads = 1;
  options.skip_latency = true;
  options.bootstrap_resamples = 20;
  return options;
}

inline pipeline::RunOptions small_run(const std::filesystem::path& folder) {
  pipeline::RunOptions options;
  options.model = write_small_definition(folder).string();
  options.root = folder / "run";
  options.variants = pipeline::scheme_variants({"w8a8"});
  options.eval = small_eval(write_small_data(folder));
  options.load.image_height = options.load.image_width = kSmallSize;
  options.quantize.calibration.images = 3;
  options.quantize.device = "cpu";
  options.quantize.threads = 1;
  options.quantize.verify_images = 1;
  return options;
}

}  // namespace yoloquant::test
