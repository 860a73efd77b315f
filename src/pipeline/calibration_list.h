#pragma once

#include <cstdint>
#include <filesystem>

#include "data/image_list.h"

namespace yoloquant::pipeline {

struct CalibrationListOptions {
  // A folder or a list file. Empty: the training images under coco_root (train2017,
  // images/train2017, or train).
  std::filesystem::path source;
  std::filesystem::path coco_root;
  int64_t images = 100;  // 0: all of the source, in its order
  uint64_t seed = 0;
};

// The images to calibrate with. A list file that has just as many images as wanted is taken as it
// is; from anything longer `images` are drawn by seed. Throws Error (usage) when there is no
// source, Error when it has fewer images than one.
data::ImageList choose_calibration_images(const CalibrationListOptions& options);

// The same, written as a list file with its origin in comments.
data::ImageList write_calibration_list(const std::filesystem::path& out,
                                       const CalibrationListOptions& options);

}  // namespace yoloquant::pipeline
