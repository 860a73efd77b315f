#include "pipeline/calibration_list.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;

fs::path training_images(const fs::path& root) {
  for (const char* folder : {"train2017", "images/train2017", "images/train", "train"}) {
    if (fs::is_directory(root / folder)) return root / folder;
  }
  fail_usage(
      "no images to calibrate with: {} has no folder train2017, images/train2017, images/train or "
      "train; name a list or folder (--calib)",
      root.string());
}

fs::path source_of(const CalibrationListOptions& options) {
  if (!options.source.empty()) return options.source;
  if (options.coco_root.empty()) {
    fail_usage("no images to calibrate with: name a list file or a folder (--calib)");
  }
  return training_images(options.coco_root);
}

}  // namespace

data::ImageList choose_calibration_images(const CalibrationListOptions& options) {
  if (options.images < 0) fail_usage("the number of calibration images must not be negative");
  data::ImageList images = data::read_image_list(source_of(options));
  const auto wanted = static_cast<size_t>(options.images);
  if (wanted == 0 || images.size() <= wanted) return images;
  return data::draw_images(images, wanted, options.seed);
}

data::ImageList write_calibration_list(const fs::path& out, const CalibrationListOptions& options) {
  data::ImageList images = choose_calibration_images(options);
  const std::vector<std::string> comments{
      fmt::format("{} calibration images from {}", images.size(), source_of(options).string()),
      fmt::format("drawn with seed {} when there were more", options.seed)};
  data::write_image_list(out, images, comments);
  return images;
}

}  // namespace yoloquant::pipeline
