#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "base/random.h"
#include "data/box.h"
#include "data/image.h"
#include "data/yolo_labels.h"

// Augmentation of training images, one step a function. They follow Ultralytics 8.1
// (data/augment.py), from which YOLOv10 was trained; probabilities and gains have its names.
namespace yoloquant::data {

// All hyperparameters of augmentation, with Ultralytics' defaults.
struct AugmentOptions {
  double mosaic = 1;       // probability: four images in one
  double mixup = 0;        // probability: blended with a second image
  int close_mosaic = 10;   // the last epochs are without mosaic and mixup
  double degrees = 0;      // rotation, at most, either way
  double translate = 0.1;  // shift, at most, as a part of the image
  double scale = 0.5;      // size is multiplied by 1 - scale ... 1 + scale
  double shear = 0;        // degrees, at most, along x and along y
  double perspective = 0;  // at most, in 1 / pixel; up to 0.001
  double hsv_h = 0.015;    // hue is multiplied by 1 - hsv_h ... 1 + hsv_h
  double hsv_s = 0.7;      // saturation, alike
  double hsv_v = 0.4;      // brightness, alike
  double flipud = 0;       // probability: upside down
  double fliplr = 0.5;     // probability: left and right exchanged

  // Nothing but letterboxing.
  static AugmentOptions none();
  // These options in the epochs after mosaic was closed.
  AugmentOptions without_mosaic() const;
  bool operator==(const AugmentOptions&) const = default;
};

// Throws Error (usage) that names the hyperparameter for probabilities outside of 0..1 and other
// values that make no sense.
void check_augmentation(const AugmentOptions& options);

struct ObjectBox {
  int class_id = 0;
  Box box;  // pixels of the sample's image
};

// An image on its way to the network.
struct Sample {
  Image image;
  std::vector<ObjectBox> objects;
};

// An image of the data set, not copied.
struct LabeledView {
  std::shared_ptr<const Image> image;
  std::span<const YoloLabel> labels;
};

// The image with its longer side at `size` pixels: bilinear, the shorter side rounded up
// (BaseDataset.load_image).
Image resize_longer_side(const Image& image, int size);

// The image in the middle of a grey (114) square of `size` pixels. REQUIRES: it is no larger.
Sample pad_to_square(const LabeledView& view, int size);

// Four images around a centre, on a grey square of 2 * `size` pixels: each touches the centre with
// a corner, what leaves the square is cut off. Boxes are clipped, empty ones dropped. REQUIRES: the
// centre lies inside of the square.
Sample mosaic(const std::array<LabeledView, 4>& views, int size, int center_x, int center_y);

// A map of image positions, as a row-major 3x3 matrix on (x, y, 1).
struct Warp {
  std::array<double, 9> matrix{1, 0, 0, 0, 1, 0, 0, 0, 1};
  double scale = 1;  // the part of it that scales, for the box filter
};

// Around the image's centre: perspective, rotation and scale, shear; then the centre to a random
// place near that of the `size` x `size` result.
Warp random_warp(const AugmentOptions& options, int width, int height, int size, Random& random);

// The warped sample of size x size pixels, grey (114) outside. A box becomes the box around its
// warped corners, clipped, and stays if is_candidate.
Sample warp(const Sample& sample, const Warp& by, int size);

// Is enough left of a box (Ultralytics' box_candidates)? Both sides above 2 pixels, area above a
// tenth of the one before, aspect ratio below 100. `before` is as large as without clipping.
bool is_candidate(const Box& before, const Box& after);

// Multiplies hue (modulo 180 degrees of two), saturation and value.
void multiply_hsv(Image& image, double hue, double saturation, double value);

void flip_left_right(Sample& sample);
void flip_upside_down(Sample& sample);

// sample = ratio * sample + (1 - ratio) * other, with the objects of both. REQUIRES: equal sizes.
void mix(Sample& sample, const Sample& other, double ratio);

// A number of the distribution Beta(32, 32), as mixup draws its ratio.
double random_mix_ratio(Random& random);

}  // namespace yoloquant::data
