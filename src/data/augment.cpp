#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <opencv2/imgproc.hpp>

#include "base/error.h"
#include "data/opencv.h"

namespace yoloquant::data {
namespace {

const cv::Scalar kGrey(114, 114, 114);

Image grey_square(int size) {
  Image image(size, size);
  std::ranges::fill(image.bgr, static_cast<uint8_t>(114));
  return image;
}

Box clipped(const Box& box, double size) {
  const auto clip = [&](double value) { return std::clamp(value, 0.0, size); };
  return {clip(box.x1), clip(box.y1), clip(box.x2), clip(box.y2)};
}

// Labels as pixel boxes of an image whose top left corner lies at (left, top).
void add_objects(const LabeledView& view, int left, int top, std::vector<ObjectBox>& objects) {
  const double width = view.image->width;
  const double height = view.image->height;
  for (const YoloLabel& label : view.labels) {
    objects.push_back(
        {label.class_id,
         {(label.x - label.width / 2) * width + left, (label.y - label.height / 2) * height + top,
          (label.x + label.width / 2) * width + left,
          (label.y + label.height / 2) * height + top}});
  }
}

// Copies the part of `image` that lies inside of `window` when its corner is at (left, top).
void paste(const Image& image, int left, int top, const cv::Rect& window, Image& canvas) {
  const cv::Rect part = cv::Rect(left, top, image.width, image.height) & window;
  if (part.empty()) return;
  as_matrix(image)(part - cv::Point(left, top)).copyTo(as_matrix(canvas)(part));
}

cv::Matx33d product(const AugmentOptions& options, int width, int height, int size, Random& random,
                    double& scale) {
  const auto draw = [&](double most) { return static_cast<double>(random.uniform(-1, 1)) * most; };
  constexpr double kDegree = std::numbers::pi / 180;
  const cv::Matx33d center(1, 0, -width / 2.0, 0, 1, -height / 2.0, 0, 0, 1);
  cv::Matx33d perspective = cv::Matx33d::eye();
  perspective(2, 0) = draw(options.perspective);
  perspective(2, 1) = draw(options.perspective);
  const double angle = draw(options.degrees) * kDegree;
  scale = 1 + draw(options.scale);
  const double c = scale * std::cos(angle);
  const double s = scale * std::sin(angle);
  const cv::Matx33d rotation(c, s, 0, -s, c, 0, 0, 0, 1);
  cv::Matx33d shear = cv::Matx33d::eye();
  shear(0, 1) = std::tan(draw(options.shear) * kDegree);
  shear(1, 0) = std::tan(draw(options.shear) * kDegree);
  cv::Matx33d translation = cv::Matx33d::eye();
  translation(0, 2) = (0.5 + draw(options.translate)) * size;
  translation(1, 2) = (0.5 + draw(options.translate)) * size;
  return translation * shear * rotation * perspective * center;
}

Box warped_box(const Box& box, const cv::Matx33d& matrix) {
  constexpr double kFar = 1e9;
  Box around{kFar, kFar, -kFar, -kFar};
  for (const double x : {box.x1, box.x2}) {
    for (const double y : {box.y1, box.y2}) {
      const cv::Vec3d point = matrix * cv::Vec3d(x, y, 1);
      const double depth = std::max(point[2], 1e-6);  // behind the viewer: far away
      around.x1 = std::min(around.x1, point[0] / depth);
      around.y1 = std::min(around.y1, point[1] / depth);
      around.x2 = std::max(around.x2, point[0] / depth);
      around.y2 = std::max(around.y2, point[1] / depth);
    }
  }
  return around;
}

void check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;  // false for NaN
  fail_usage("{} is {}: it must lie in {}..{}", name, value, low, high);
}

}  // namespace

AugmentOptions AugmentOptions::none() {
  return {.mosaic = 0, .translate = 0, .scale = 0, .hsv_h = 0, .hsv_s = 0, .hsv_v = 0, .fliplr = 0};
}

AugmentOptions AugmentOptions::without_mosaic() const {
  AugmentOptions options = *this;
  options.mosaic = 0;
  options.mixup = 0;
  return options;
}

void check_augmentation(const AugmentOptions& options) {
  check_range("mosaic", options.mosaic, 0, 1);
  check_range("mixup", options.mixup, 0, 1);
  check_range("close_mosaic", options.close_mosaic, 0, 1e6);
  check_range("degrees", options.degrees, 0, 180);
  check_range("translate", options.translate, 0, 1);
  check_range("scale", options.scale, 0, 0.99);  // 1 would shrink an image to nothing
  check_range("shear", options.shear, 0, 80);
  check_range("perspective", options.perspective, 0, 0.001);
  check_range("hsv_h", options.hsv_h, 0, 1);
  check_range("hsv_s", options.hsv_s, 0, 1);
  check_range("hsv_v", options.hsv_v, 0, 1);
  check_range("flipud", options.flipud, 0, 1);
  check_range("fliplr", options.fliplr, 0, 1);
}

Image resize_longer_side(const Image& image, int size) {
  configure_opencv();
  const double ratio = static_cast<double>(size) / std::max(image.width, image.height);
  const auto resized = [&](int side) {
    return std::min(static_cast<int>(std::ceil(side * ratio)), size);
  };
  Image result(resized(image.width), resized(image.height));
  if (result.width == image.width && result.height == image.height) return image;
  cv::Mat target = as_matrix(result);
  cv::resize(as_matrix(image), target, target.size(), 0, 0, cv::INTER_LINEAR);
  return result;
}

Sample pad_to_square(const LabeledView& view, int size) {
  Sample sample{grey_square(size), {}};
  const int left = (size - view.image->width) / 2;
  const int top = (size - view.image->height) / 2;
  paste(*view.image, left, top, {0, 0, size, size}, sample.image);
  add_objects(view, left, top, sample.objects);
  return sample;
}

Sample mosaic(const std::array<LabeledView, 4>& views, int size, int center_x, int center_y) {
  const int side = 2 * size;
  Sample sample{grey_square(side), {}};
  for (size_t i = 0; i < views.size(); ++i) {  // top left, top right, bottom left, bottom right
    const bool right = i % 2 == 1;
    const bool bottom = i / 2 == 1;
    const Image& image = *views[i].image;
    const int left = right ? center_x : center_x - image.width;
    const int top = bottom ? center_y : center_y - image.height;
    const cv::Rect window(right ? center_x : 0, bottom ? center_y : 0,
                          right ? side - center_x : center_x, bottom ? side - center_y : center_y);
    paste(image, left, top, window, sample.image);
    add_objects(views[i], left, top, sample.objects);
  }
  for (ObjectBox& object : sample.objects) object.box = clipped(object.box, side);
  std::erase_if(sample.objects, [](const ObjectBox& object) {
    return object.box.width() <= 0 || object.box.height() <= 0;
  });
  return sample;
}

Warp random_warp(const AugmentOptions& options, int width, int height, int size, Random& random) {
  Warp result;
  const cv::Matx33d matrix = product(options, width, height, size, random, result.scale);
  std::copy(matrix.val, matrix.val + 9, result.matrix.begin());
  return result;
}

Sample warp(const Sample& sample, const Warp& by, int size) {
  configure_opencv();
  const cv::Matx33d matrix(by.matrix.data());
  Sample result{Image(size, size), {}};
  cv::Mat target = as_matrix(result.image);
  const bool affine = matrix(2, 0) == 0 && matrix(2, 1) == 0;
  if (affine) {
    cv::warpAffine(as_matrix(sample.image), target, matrix.get_minor<2, 3>(0, 0), target.size(),
                   cv::INTER_LINEAR, cv::BORDER_CONSTANT, kGrey);
  } else {
    cv::warpPerspective(as_matrix(sample.image), target, matrix, target.size(), cv::INTER_LINEAR,
                        cv::BORDER_CONSTANT, kGrey);
  }
  for (const ObjectBox& object : sample.objects) {
    const Box after = clipped(warped_box(object.box, matrix), size);
    const Box& b = object.box;
    const Box before{b.x1 * by.scale, b.y1 * by.scale, b.x2 * by.scale, b.y2 * by.scale};
    if (is_candidate(before, after)) result.objects.push_back({object.class_id, after});
  }
  return result;
}

bool is_candidate(const Box& before, const Box& after) {
  constexpr double kMinSide = 2;
  constexpr double kMinArea = 0.1;
  constexpr double kMaxAspect = 100;
  const double width = after.width();
  const double height = after.height();
  if (width <= kMinSide || height <= kMinSide) return false;
  if (width * height <= kMinArea * before.width() * before.height()) return false;
  return std::max(width / height, height / width) < kMaxAspect;
}

void multiply_hsv(Image& image, double hue, double saturation, double value) {
  configure_opencv();
  cv::Mat table(1, 256, CV_8UC3);
  for (int i = 0; i < 256; ++i) {
    const auto gained = [&](double gain) {
      return static_cast<uint8_t>(std::clamp(i * gain, 0.0, 255.0));
    };
    table.at<cv::Vec3b>(i) = {static_cast<uint8_t>(std::fmod(i * hue, 180)), gained(saturation),
                              gained(value)};
  }
  cv::Mat pixels = as_matrix(image);
  cv::Mat hsv;
  cv::cvtColor(pixels, hsv, cv::COLOR_BGR2HSV);
  cv::LUT(hsv, table, hsv);
  cv::cvtColor(hsv, pixels, cv::COLOR_HSV2BGR);
}

void flip_left_right(Sample& sample) {
  cv::Mat pixels = as_matrix(sample.image);
  cv::flip(pixels, pixels, 1);
  const double width = sample.image.width;
  for (ObjectBox& object : sample.objects) {
    object.box = {width - object.box.x2, object.box.y1, width - object.box.x1, object.box.y2};
  }
}

void flip_upside_down(Sample& sample) {
  cv::Mat pixels = as_matrix(sample.image);
  cv::flip(pixels, pixels, 0);
  const double height = sample.image.height;
  for (ObjectBox& object : sample.objects) {
    object.box = {object.box.x1, height - object.box.y2, object.box.x2, height - object.box.y1};
  }
}

void mix(Sample& sample, const Sample& other, double ratio) {
  if (sample.image.bgr.size() != other.image.bgr.size()) fail("mixup of different image sizes");
  for (size_t i = 0; i < sample.image.bgr.size(); ++i) {
    sample.image.bgr[i] =
        static_cast<uint8_t>(sample.image.bgr[i] * ratio + other.image.bgr[i] * (1 - ratio));
  }
  sample.objects.insert(sample.objects.end(), other.objects.begin(), other.objects.end());
}

double random_mix_ratio(Random& random) {
  // The k-th smallest of n uniform numbers has the distribution Beta(k, n + 1 - k).
  std::array<float, 63> numbers;
  for (float& number : numbers) number = random.uniform();
  std::ranges::nth_element(numbers, numbers.begin() + 31);
  return static_cast<double>(numbers[31]);
}

}  // namespace yoloquant::data
