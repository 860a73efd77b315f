#include "data/letterbox.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "base/error.h"
#include "data/opencv.h"

namespace yoloquant::data {
namespace {

constexpr int kPadding = 114;

// One row of a colour plane between its left and right padding.
void write_row(const uint8_t* source, int count, int left, int width, float* target) {
  constexpr float kGrey = kPadding / 255.0F;
  std::fill(target, target + left, kGrey);
  float* inner = target + left;
  for (int x = 0; x < count; ++x) inner[x] = static_cast<float>(source[x]) / 255.0F;
  std::fill(inner + count, target + width, kGrey);
}

void split_row(const uint8_t* bgr, int count, uint8_t* red, uint8_t* green, uint8_t* blue) {
  const cv::Mat row(1, count, CV_8UC3, const_cast<uint8_t*>(bgr));
  std::array<cv::Mat, 3> planes{cv::Mat(1, count, CV_8U, blue), cv::Mat(1, count, CV_8U, green),
                                cv::Mat(1, count, CV_8U, red)};
  cv::split(row, planes.data());
}

// [H, W, BGR] bytes to padded [RGB, H, W] floats, a row at a time so that it stays in cache.
void write_planes(const cv::Mat& pixels, const Letterbox& box, std::span<float> output) {
  constexpr float kGrey = kPadding / 255.0F;
  const auto width = static_cast<size_t>(box.input_width);
  const size_t plane = width * static_cast<size_t>(box.input_height);
  const auto columns = static_cast<size_t>(pixels.cols);
  std::vector<uint8_t> channels(columns * 3);
  for (int y = 0; y < pixels.rows; ++y) {
    uint8_t* red = channels.data();
    split_row(pixels.ptr<uint8_t>(y), pixels.cols, red, red + columns, red + 2 * columns);
    float* row = output.data() + static_cast<size_t>(box.pad_top + y) * width;
    for (size_t c = 0; c < 3; ++c) {
      write_row(red + c * columns, pixels.cols, box.pad_left, box.input_width, row + c * plane);
    }
  }
  const size_t above = static_cast<size_t>(box.pad_top) * width;
  const size_t below = static_cast<size_t>(box.pad_top + pixels.rows) * width;
  for (size_t c = 0; c < 3; ++c) {
    float* start = output.data() + c * plane;
    std::fill(start, start + above, kGrey);
    std::fill(start + below, start + plane, kGrey);
  }
}

}  // namespace

Letterbox Letterbox::fit(int image_width, int image_height, int input_width, int input_height) {
  if (image_width <= 0 || image_height <= 0 || input_width <= 0 || input_height <= 0) {
    fail("cannot fit an image of {}x{} into {}x{} pixels", image_width, image_height, input_width,
         input_height);
  }
  Letterbox box{image_width, image_height, input_width, input_height};
  box.scale = std::min(static_cast<double>(input_height) / image_height,
                       static_cast<double>(input_width) / image_width);
  // A very long image would shrink to a side of nothing.
  const auto resized = [&](int size) {
    return std::max(1, static_cast<int>(std::nearbyint(size * box.scale)));
  };
  box.resized_width = resized(image_width);
  box.resized_height = resized(image_height);
  box.pad_left = (input_width - box.resized_width) / 2;
  box.pad_top = (input_height - box.resized_height) / 2;
  return box;
}

Box Letterbox::to_image(const Box& box) const {
  const auto x = [&](double value) {
    return std::clamp((value - pad_left) / scale, 0.0, static_cast<double>(image_width));
  };
  const auto y = [&](double value) {
    return std::clamp((value - pad_top) / scale, 0.0, static_cast<double>(image_height));
  };
  return {x(box.x1), y(box.y1), x(box.x2), y(box.y2)};
}

Box Letterbox::to_input(const Box& box) const {
  return {box.x1 * scale + pad_left, box.y1 * scale + pad_top, box.x2 * scale + pad_left,
          box.y2 * scale + pad_top};
}

Letterbox letterbox(const Image& image, int input_width, int input_height,
                    std::span<float> output) {
  const Letterbox box = Letterbox::fit(image.width, image.height, input_width, input_height);
  const size_t needed = 3 * static_cast<size_t>(input_width) * static_cast<size_t>(input_height);
  if (output.size() != needed) {
    fail("the input buffer has {} values instead of {}", output.size(), needed);
  }
  configure_opencv();
  cv::Mat pixels = as_matrix(image);
  if (box.resized_width != image.width || box.resized_height != image.height) {
    cv::Mat resized;
    cv::resize(pixels, resized, {box.resized_width, box.resized_height}, 0, 0, cv::INTER_LINEAR);
    pixels = resized;
  }
  write_planes(pixels, box, output);
  return box;
}

}  // namespace yoloquant::data
