#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/box.h"
#include "data/image.h"

namespace yoloquant::data {

// Object classes of the synthetic set, by class number: circle, square, triangle, star, cross,
// ring.
const std::vector<std::string>& shape_names();

struct ShapesOptions {
  int train_images = 128;
  int val_images = 50;
  int width = 320;  // pixels of each image
  int height = 256;
  int max_objects = 8;  // an image; at least 1
  uint64_t seed = 0;
};

struct ShapeObject {
  int class_id = 0;
  Box box;           // of the visible pixels, exact
  int64_t area = 0;  // visible pixels
};

struct ShapesImage {
  Image image;
  std::vector<ShapeObject> objects;
};

// One image: a gradient background with stripes and noise, shapes of random colour, size (8 pixels
// to half of the image), rotation and position that may overlap; a shape less than 40 % visible is
// not an object but is not drawn either. The same for the same arguments.
ShapesImage render_shapes(int width, int height, int max_objects, uint64_t seed);

// Writes a detection set in COCO's layout: ROOT/train2017/*.jpg, ROOT/val2017/*.jpg and
// ROOT/annotations/instances_{train2017,val2017}.json, with category ids 1...6. Does nothing when
// ROOT already holds the set of these options. Throws Error when ROOT holds something else.
void write_shapes(const std::filesystem::path& root, const ShapesOptions& options = {},
                  int threads = 1);

}  // namespace yoloquant::data
