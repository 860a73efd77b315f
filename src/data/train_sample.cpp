#include "data/train_sample.h"

#include <array>
#include <opencv2/core.hpp>

#include "base/error.h"
#include "data/opencv.h"

namespace yoloquant::data {
namespace {

bool happens(double probability, Random& random) {
  return static_cast<double>(random.uniform()) < probability;
}

// Mosaic or padding, then perspective.
Sample make_view(const SampleSource& source, size_t index, int size, const AugmentOptions& options,
                 Random& random) {
  if (happens(options.mosaic, random)) {
    std::array<LabeledView, 4> views{source.load(index)};
    for (size_t i = 1; i < 4; ++i) views[i] = source.load(source.draw_partner(random));
    const auto center = [&] {
      return static_cast<int>(
          random.uniform(static_cast<float>(size) / 2, static_cast<float>(size) * 3 / 2));
    };
    const int center_y = center();
    const int center_x = center();
    const Sample canvas = mosaic(views, size, center_x, center_y);
    return warp(canvas, random_warp(options, 2 * size, 2 * size, size, random), size);
  }
  Sample padded = pad_to_square(source.load(index), size);
  const Warp by = random_warp(options, size, size, size, random);
  if (by.matrix == Warp().matrix) return padded;
  return warp(padded, by, size);
}

void change_colors(Image& image, const AugmentOptions& options, Random& random) {
  if (options.hsv_h == 0 && options.hsv_s == 0 && options.hsv_v == 0) return;
  const auto gain = [&](double most) {
    return 1 + static_cast<double>(random.uniform(-1, 1)) * most;
  };
  const double hue = gain(options.hsv_h);
  const double saturation = gain(options.hsv_s);
  multiply_hsv(image, hue, saturation, gain(options.hsv_v));
}

// Blue, green and red of an image, which are stored as red, green, blue planes.
std::array<cv::Mat, 3> plane_matrices(std::span<uint8_t> planes, const Image& image) {
  if (planes.size() != image.bgr.size()) {
    fail("{} bytes for an image of {}", planes.size(), image.bgr.size());
  }
  const auto plane = [&](size_t i) {
    return cv::Mat(image.height, image.width, CV_8U, planes.data() + i * planes.size() / 3);
  };
  return {plane(2), plane(1), plane(0)};
}

}  // namespace

Sample make_sample(const SampleSource& source, size_t index, int size,
                   const AugmentOptions& options, Random random) {
  Sample sample = make_view(source, index, size, options, random);
  if (happens(options.mixup, random)) {
    const Sample other = make_view(source, source.draw_partner(random), size, options, random);
    mix(sample, other, random_mix_ratio(random));
  }
  change_colors(sample.image, options, random);
  if (happens(options.flipud, random)) flip_upside_down(sample);
  if (happens(options.fliplr, random)) flip_left_right(sample);
  return sample;
}

void to_planes(const Image& image, std::span<uint8_t> planes) {
  cv::split(as_matrix(image), plane_matrices(planes, image).data());
}

Image from_planes(std::span<const uint8_t> planes, int width, int height) {
  Image image(width, height);
  const auto matrices = plane_matrices({const_cast<uint8_t*>(planes.data()), planes.size()}, image);
  cv::Mat pixels = as_matrix(image);
  cv::merge(matrices.data(), matrices.size(), pixels);
  return image;
}

}  // namespace yoloquant::data
