#include "data/shapes.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <opencv2/imgproc.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "data/opencv.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;

constexpr double kMinVisible = 0.4;
constexpr int kMinSize = 8;
constexpr int kSubpixelBits = 4;  // shapes are drawn at 1/16 pixel

enum Shape : int { kCircle, kSquare, kTriangle, kStar, kCross, kRing, kShapes };

using Points = std::vector<cv::Point2d>;

Points regular_polygon(int corners, double inner_radius) {
  Points points;
  const int count = inner_radius < 1 ? 2 * corners : corners;
  for (int i = 0; i < count; ++i) {
    const double radius = inner_radius < 1 && i % 2 == 1 ? inner_radius : 1;
    const double angle = 2 * std::numbers::pi * i / count - std::numbers::pi / 2;
    points.emplace_back(radius * std::cos(angle), radius * std::sin(angle));
  }
  return points;
}

// Outline in the unit circle.
Points outline(Shape shape) {
  constexpr double kArm = 0.3;
  switch (shape) {
    case kSquare:
      return {{-0.75, -0.75}, {0.75, -0.75}, {0.75, 0.75}, {-0.75, 0.75}};
    case kTriangle:
      return regular_polygon(3, 1);
    case kStar:
      return regular_polygon(5, 0.42);
    case kCross:
      return {{-kArm, -1}, {kArm, -1}, {kArm, -kArm}, {1, -kArm}, {1, kArm},   {kArm, kArm},
              {kArm, 1},   {-kArm, 1}, {-kArm, kArm}, {-1, kArm}, {-1, -kArm}, {-kArm, -kArm}};
    default:
      return regular_polygon(64, 1);  // circle and ring
  }
}

// Where a shape lies and how it looks.
struct Placement {
  Shape shape;
  double x;
  double y;
  double radius;
  double stretch;  // height over width
  double angle;
  cv::Vec3b color;
};

Placement random_placement(Random& random, int width, int height, const cv::Vec3b& background) {
  Placement placement{};
  placement.shape = static_cast<Shape>(random.below(kShapes));
  const double largest = std::min(width, height) / 4.0;
  const double smallest = std::min(kMinSize / 2.0, largest);
  // Uniform in the logarithm: as many small objects as large ones.
  placement.radius = smallest * std::pow(largest / smallest, random.uniform());
  placement.x = random.uniform() * width;
  placement.y = random.uniform() * height;
  placement.stretch = random.uniform(0.75F, 1.0F);
  // A square turned far would be a diamond, a triangle may point anywhere.
  const double most = placement.shape == kSquare || placement.shape == kCross ? 0.3 : 3.0;
  placement.angle = most * random.uniform(-1, 1);
  int difference = 0;
  do {  // visible against the background
    difference = 0;
    for (int c = 0; c < 3; ++c) {
      placement.color[c] = static_cast<uint8_t>(random.below(256));
      difference += std::abs(placement.color[c] - background[c]);
    }
  } while (difference < 120);
  return placement;
}

void fill(cv::Mat& mask, const Points& points, const Placement& p, double scale, uint8_t value) {
  constexpr double kUnits = 1 << kSubpixelBits;
  std::vector<cv::Point> corners;
  for (const cv::Point2d& point : points) {
    const double x = point.x * p.radius * scale;
    const double y = point.y * p.radius * scale * p.stretch;
    const double c = std::cos(p.angle);
    const double s = std::sin(p.angle);
    corners.emplace_back(static_cast<int>(std::lround((p.x + c * x - s * y) * kUnits)),
                         static_cast<int>(std::lround((p.y + s * x + c * y) * kUnits)));
  }
  cv::fillPoly(mask, std::vector<std::vector<cv::Point>>{corners}, cv::Scalar(value), cv::LINE_8,
               kSubpixelBits);
}

cv::Mat shape_mask(const Placement& placement, int width, int height) {
  cv::Mat mask(height, width, CV_8U, cv::Scalar(0));
  const Points points = outline(placement.shape);
  fill(mask, points, placement, 1, 255);
  if (placement.shape == kRing) fill(mask, points, placement, 0.55, 0);
  return mask;
}

// A gradient between two colours, stripes over it.
cv::Mat background(Random& random, int width, int height, cv::Vec3b* mean) {
  cv::Vec3d from;
  cv::Vec3d to;
  for (int c = 0; c < 3; ++c) {
    from[c] = random.uniform(30, 225);
    to[c] = from[c] + random.uniform(-30, 30);
    (*mean)[c] = static_cast<uint8_t>((from[c] + to[c]) / 2);
  }
  const double stripe = random.uniform(8, 40);
  const double strength = random.uniform(0, 12);
  const double angle = random.uniform(0, 3.14F);
  cv::Mat pixels(height, width, CV_8UC3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double part = (static_cast<double>(x) / width + static_cast<double>(y) / height) / 2;
      const double wave =
          strength * std::sin((x * std::cos(angle) + y * std::sin(angle)) / stripe * 6.28);
      for (int c = 0; c < 3; ++c) {
        pixels.at<cv::Vec3b>(y, x)[c] =
            cv::saturate_cast<uint8_t>(from[c] + part * (to[c] - from[c]) + wave);
      }
    }
  }
  return pixels;
}

void add_noise(cv::Mat& pixels, Random& random) {
  const float strength = random.uniform(0, 14);
  for (int y = 0; y < pixels.rows; ++y) {
    uint8_t* row = pixels.ptr<uint8_t>(y);
    for (int i = 0; i < 3 * pixels.cols; ++i) {
      row[i] =
          cv::saturate_cast<uint8_t>(static_cast<float>(row[i]) + random.uniform(-1, 1) * strength);
    }
  }
}

// Which object each pixel shows: 0 none, i + 1 object i.
class Layers {
 public:
  Layers(int width, int height) : owner_(height, width, CV_8U, cv::Scalar(0)) {}

  // Draws the shape on top unless it, or one below, would be hidden too much.
  bool add(const cv::Mat& mask) {
    const int64_t inside = cv::countNonZero(mask);
    if (inside < kMinSize * kMinSize / 4) return false;
    for (size_t i = 0; i < full_.size(); ++i) {
      const cv::Mat still_visible = (owner_ == static_cast<double>(i + 1)) & ~mask;
      if (cv::countNonZero(still_visible) < kMinVisible * static_cast<double>(full_[i]))
        return false;
    }
    full_.push_back(inside);
    owner_.setTo(cv::Scalar(static_cast<double>(full_.size())), mask);
    return true;
  }

  ShapeObject object(size_t index, int class_id) const {
    const cv::Mat visible = owner_ == static_cast<double>(index + 1);
    const cv::Rect box = cv::boundingRect(visible);
    return {class_id,
            {double(box.x), double(box.y), double(box.x + box.width), double(box.y + box.height)},
            cv::countNonZero(visible)};
  }

 private:
  cv::Mat owner_;
  std::vector<int64_t> full_;  // pixels of each before others covered it
};

}  // namespace

const std::vector<std::string>& shape_names() {
  static const std::vector<std::string> names{"circle", "square", "triangle",
                                              "star",   "cross",  "ring"};
  return names;
}

ShapesImage render_shapes(int width, int height, int max_objects, uint64_t seed) {
  constexpr int kMostObjects = 100;
  if (width < 16 || height < 16 || max_objects < 1 || max_objects > kMostObjects) {
    fail_usage("shapes: need sides of 16 pixels or more and 1..{} objects, not {}x{} and {}",
               kMostObjects, width, height, max_objects);
  }
  configure_opencv();
  Random random(splitmix64_mix(seed ^ fnv1a64("shapes")));
  ShapesImage result{Image(width, height), {}};
  cv::Vec3b mean;
  cv::Mat pixels = as_matrix(result.image);
  background(random, width, height, &mean).copyTo(pixels);
  Layers layers(width, height);
  const auto wanted = 1 + random.below(static_cast<uint64_t>(max_objects));
  std::vector<int> classes;
  for (int attempt = 0; attempt < 20 * max_objects && classes.size() < wanted; ++attempt) {
    const Placement placement = random_placement(random, width, height, mean);
    const cv::Mat mask = shape_mask(placement, width, height);
    if (!layers.add(mask)) continue;
    pixels.setTo(cv::Scalar(placement.color), mask);
    classes.push_back(placement.shape);
  }
  for (size_t i = 0; i < classes.size(); ++i)
    result.objects.push_back(layers.object(i, classes[i]));
  add_noise(pixels, random);
  return result;
}

namespace {

std::string shapes_key(const ShapesOptions& o) {
  return fmt::format("shapes 1: {} + {} images of {}x{}, up to {} objects, seed {}", o.train_images,
                     o.val_images, o.width, o.height, o.max_objects, o.seed);
}

void write_split(const fs::path& root, const std::string& split, int count,
                 const ShapesOptions& options, int threads) {
  using nlohmann::ordered_json;
  std::vector<ShapesImage> rendered(static_cast<size_t>(count));
  const uint64_t split_seed = options.seed ^ fnv1a64(split);
  parallel_for(rendered.size(), threads, [&](size_t i) {
    rendered[i] = render_shapes(options.width, options.height, options.max_objects,
                                splitmix64_mix(split_seed) + i);
    write_image(root / split / fmt::format("{:012}.jpg", i + 1), rendered[i].image);
    rendered[i].image = {};
  });
  ordered_json images = ordered_json::array();
  ordered_json annotations = ordered_json::array();
  for (size_t i = 0; i < rendered.size(); ++i) {
    images.push_back({{"id", i + 1},
                      {"file_name", fmt::format("{:012}.jpg", i + 1)},
                      {"width", options.width},
                      {"height", options.height}});
    for (const ShapeObject& object : rendered[i].objects) {
      annotations.push_back(
          {{"id", annotations.size() + 1},
           {"image_id", i + 1},
           {"category_id", object.class_id + 1},
           {"bbox", {object.box.x1, object.box.y1, object.box.width(), object.box.height()}},
           {"area", object.area},
           {"iscrowd", 0}});
    }
  }
  ordered_json categories = ordered_json::array();
  for (size_t c = 0; c < shape_names().size(); ++c) {
    categories.push_back({{"id", c + 1}, {"name", shape_names()[c]}});
  }
  const ordered_json document{{"info", {{"description", shapes_key(options)}}},
                              {"images", std::move(images)},
                              {"categories", std::move(categories)},
                              {"annotations", std::move(annotations)}};
  write_file(root / "annotations" / ("instances_" + split + ".json"), document.dump());
}

}  // namespace

void write_shapes(const fs::path& root, const ShapesOptions& options, int threads) {
  constexpr int kMostImages = 1000000;
  if (options.train_images < 1 || options.val_images < 1 || options.train_images > kMostImages ||
      options.val_images > kMostImages) {
    fail_usage("shapes: image counts {} and {} must lie in 1..{}", options.train_images,
               options.val_images, kMostImages);
  }
  // Written last, so that an interrupted set is made again.
  const fs::path stamp = root / "shapes.txt";
  const fs::path started = root / "shapes.unfinished";
  const std::string key = shapes_key(options);
  if (fs::exists(stamp)) {
    if (read_file(stamp) == key) return;
    fail("{}: holds another set ({}): use another folder", root.string(), read_file(stamp));
  }
  if (fs::exists(root) && !fs::is_empty(root) && !fs::exists(started)) {
    fail("{}: the folder is not empty: use another one", root.string());
  }
  write_file(started, key);
  write_split(root, "train2017", options.train_images, options, threads);
  write_split(root, "val2017", options.val_images, options, threads);
  write_file(stamp, key);
  fs::remove(started);
}

}  // namespace yoloquant::data
