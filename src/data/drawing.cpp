#include <cmath>
#include <opencv2/imgproc.hpp>

#include "data/image.h"
#include "data/opencv.h"

namespace yoloquant::data {
namespace {

// Black on light colours, white on dark ones (Rec. 601 luma).
cv::Scalar text_color(uint32_t rgb) {
  const double luma = 0.299 * (rgb >> 16 & 0xFF) + 0.587 * (rgb >> 8 & 0xFF) + 0.114 * (rgb & 0xFF);
  return luma > 140 ? cv::Scalar(0, 0, 0) : cv::Scalar(255, 255, 255);
}

void draw_label(cv::Mat& pixels, const cv::Point& corner, const std::string& label, uint32_t color,
                int thickness) {
  const double font_scale = thickness / 3.0;
  const int stroke = std::max(thickness - 1, 1);
  int baseline = 0;
  const cv::Size size =
      cv::getTextSize(label, cv::FONT_HERSHEY_SIMPLEX, font_scale, stroke, &baseline);
  const int height = size.height + baseline;
  // Above the box; inside it when there is no room.
  const int top = corner.y >= height ? corner.y - height : corner.y;
  const int left = std::max(0, std::min(corner.x, pixels.cols - size.width));
  cv::rectangle(pixels, cv::Rect(left, top, size.width, height), to_scalar(color), cv::FILLED);
  cv::putText(pixels, label, {left, top + size.height + baseline / 2}, cv::FONT_HERSHEY_SIMPLEX,
              font_scale, text_color(color), stroke, cv::LINE_AA);
}

// Clipped to the image, so that no coordinate overflows an int.
cv::Point clipped_point(const cv::Mat& pixels, double x, double y) {
  const auto clip = [](double value, int limit) {
    return value > 0 ? static_cast<int>(std::lround(std::min(value, double(limit - 1)))) : 0;
  };
  return {clip(x, pixels.cols), clip(y, pixels.rows)};
}

}  // namespace

uint32_t class_color(int class_id) {
  const double hue = std::fmod(0.61803398875 * class_id + 0.02, 1.0) * 6;
  const double rising = hue - std::floor(hue);
  const auto level = [](double value) { return static_cast<uint32_t>(std::lround(value * 255)); };
  const uint32_t high = level(0.95);
  const uint32_t low = level(0.20);
  const uint32_t up = level(0.20 + 0.75 * rising);
  const uint32_t down = level(0.95 - 0.75 * rising);
  const auto rgb = [](uint32_t r, uint32_t g, uint32_t b) { return r << 16 | g << 8 | b; };
  switch (static_cast<int>(hue)) {
    case 0:
      return rgb(high, up, low);
    case 1:
      return rgb(down, high, low);
    case 2:
      return rgb(low, high, up);
    case 3:
      return rgb(low, down, high);
    case 4:
      return rgb(up, low, high);
    default:
      return rgb(high, low, down);
  }
}

void draw_boxes(Image& image, std::span<const LabeledBox> boxes) {
  configure_opencv();
  cv::Mat pixels = as_matrix(image);
  const int thickness =
      std::max(static_cast<int>(std::lround((image.width + image.height) / 2.0 * 0.003)), 2);
  for (const LabeledBox& item : boxes) {
    const uint32_t color = class_color(item.class_id);
    const cv::Point corner = clipped_point(pixels, item.box.x1, item.box.y1);
    cv::rectangle(pixels, corner, clipped_point(pixels, item.box.x2, item.box.y2), to_scalar(color),
                  thickness, cv::LINE_AA);
    if (!item.label.empty()) draw_label(pixels, corner, item.label, color, thickness);
  }
}

}  // namespace yoloquant::data
