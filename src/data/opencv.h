#pragma once

// Shared by the sources of this layer only: never included from a public header.
#include <opencv2/core.hpp>

#include "data/image.h"

namespace yoloquant::data {

// OpenCV's own threads and messages are off: the loader has threads of its own, errors are Errors.
void configure_opencv();

// A colour 0xRRGGBB for drawing.
inline cv::Scalar to_scalar(uint32_t rgb) {
  return cv::Scalar(rgb & 0xFF, rgb >> 8 & 0xFF, rgb >> 16 & 0xFF);
}

// The image's pixels as a matrix, without a copy.
inline cv::Mat as_matrix(Image& image) {
  return cv::Mat(image.height, image.width, CV_8UC3, image.bgr.data());
}
inline cv::Mat as_matrix(const Image& image) {
  return cv::Mat(image.height, image.width, CV_8UC3, const_cast<uint8_t*>(image.bgr.data()));
}

}  // namespace yoloquant::data
