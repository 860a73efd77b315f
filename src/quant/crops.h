#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "quant/calibration_data.h"

namespace yoloquant::quant {

// Calibration images held as bytes (1.2 MB for 640 x 640), from which views to train on are cut.
class CropSource {
 public:
  // Images [first, last) of `images`.
  CropSource(CalibrationData& images, int64_t first, int64_t last);

  // Views of the size that the model sees, float32 [1, 3, H, W] in [0, 1].
  //
  // A random image at a random scale (.5 to 1.3; sometimes whole), place, flip and, for half of the
  // draws, brightness and contrast; one in eight is a mosaic of four. What lies outside the image
  // is filled as letterbox fills it.
  at::Tensor draw_anew(Random& random) const;
  // An image as the model will see it, but flipped and with other brightness for half of the draws.
  at::Tensor draw_whole(Random& random) const;

 private:
  struct Image {
    at::Tensor pixels;  // uint8 [3, H, W] without the letterbox's borders
  };
  const Image& pick(Random& random) const { return images_[random.below(images_.size())]; }

  std::vector<Image> images_;
  int64_t height_ = 0;  // of the letterboxed image
  int64_t width_ = 0;
};

}  // namespace yoloquant::quant
