#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "base/random.h"
#include "data/augment.h"

namespace yoloquant::data {

// Where the images of a sample come from.
struct SampleSource {
  std::function<LabeledView(size_t)> load;      // an image with its longer side at the input's size
  std::function<size_t(Random&)> draw_partner;  // another image for mosaic and mixup
};

// Image `index` as the network sees it in training, size x size pixels, in the order of
// Ultralytics' v8_transforms: mosaic (else padding), random perspective, mixup with a second such
// image, HSV, flips. All that is random comes from `random`.
Sample make_sample(const SampleSource& source, size_t index, int size,
                   const AugmentOptions& options, Random random);

// An image as planes of red, green and blue. REQUIRES: planes.size() is image.bgr.size(); throws
// Error otherwise.
void to_planes(const Image& image, std::span<uint8_t> planes);
Image from_planes(std::span<const uint8_t> planes, int width, int height);

}  // namespace yoloquant::data
