#include "data/picture.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "base/error.h"
#include "data/opencv.h"

namespace yoloquant::data {
namespace {

// OpenCV takes coordinates with a few binary digits behind the point.
constexpr int kShift = 4;
constexpr double kMaxCoordinate = 1e6;
// Cap height of FONT_HERSHEY_SIMPLEX at scale 1 in pixels, and that of common fonts at size 1.
constexpr double kHersheyCapHeight = 21;
constexpr double kCapHeight = 0.72;

class Painter {
 public:
  Painter(Image& image, double scale) : pixels_(as_matrix(image)), scale_(scale) {}

  void operator()(const Polyline& line) {
    std::vector<cv::Point> points;
    for (const PicturePoint& point : line.points) points.push_back(fixed(point));
    if (points.empty()) return;
    cv::polylines(pixels_, points, false, to_scalar(line.color), thickness(line.width), cv::LINE_AA,
                  kShift);
  }

  void operator()(const Disc& disc) {
    const double radius = std::clamp(disc.radius * scale_, 0.0, kMaxCoordinate);
    cv::circle(pixels_, fixed(disc.center), static_cast<int>(std::lround(radius * (1 << kShift))),
               to_scalar(disc.color), cv::FILLED, cv::LINE_AA, kShift);
  }

  void operator()(const Caption& caption) {
    const std::string text = ascii(caption.text);
    const double font = caption.size * scale_ * kCapHeight / kHersheyCapHeight;
    const int stroke = thickness(caption.bold ? 1 : 0.5);
    int baseline = 0;
    const int width =
        cv::getTextSize(text, cv::FONT_HERSHEY_SIMPLEX, font, stroke, &baseline).width;
    cv::Point at = whole(caption.at);
    if (caption.anchor == Caption::Anchor::kMiddle) at.x -= width / 2;
    if (caption.anchor == Caption::Anchor::kEnd) at.x -= width;
    cv::putText(pixels_, text, at, cv::FONT_HERSHEY_SIMPLEX, font, to_scalar(caption.color), stroke,
                cv::LINE_AA);
  }

 private:
  static std::string ascii(std::string text) {
    for (char& c : text) {
      if (c < ' ' || c > '~') c = '?';
    }
    return text;
  }

  int thickness(double width) const {
    return std::clamp(static_cast<int>(std::lround(width * scale_)), 1, 100);
  }

  // In pixels of the image; what is not finite lies at the origin.
  double pixel(double value) const {
    const double at = value * scale_;
    return std::isfinite(at) ? std::clamp(at, -kMaxCoordinate, kMaxCoordinate) : 0;
  }
  cv::Point fixed(const PicturePoint& point) const {
    constexpr double kOne = 1 << kShift;
    return {static_cast<int>(std::lround(pixel(point.x) * kOne)),
            static_cast<int>(std::lround(pixel(point.y) * kOne))};
  }
  cv::Point whole(const PicturePoint& point) const {
    return {static_cast<int>(std::lround(pixel(point.x))),
            static_cast<int>(std::lround(pixel(point.y)))};
  }

  cv::Mat pixels_;
  double scale_;
};

}  // namespace

Image rasterize(const Picture& picture, double scale) {
  const double width = std::ceil(picture.width * scale);
  const double height = std::ceil(picture.height * scale);
  if (!(width >= 1 && height >= 1 && width * height <= static_cast<double>(kMaxImagePixels))) {
    fail("a picture of {} x {} pixels cannot be drawn", width, height);
  }
  configure_opencv();
  Image image(static_cast<int>(width), static_cast<int>(height));
  std::fill(image.bgr.begin(), image.bgr.end(), uint8_t{255});
  Painter painter(image, scale);
  for (const PictureShape& shape : picture.shapes) std::visit(painter, shape);
  return image;
}

}  // namespace yoloquant::data
