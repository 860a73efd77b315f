#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "data/image.h"

// Pictures made of a few kinds of shapes, which can be written as SVG (report/picture_svg.h) or
// turned into pixels. Coordinates in pixels, y downwards; colours 0xRRGGBB.
namespace yoloquant::data {

struct PicturePoint {
  double x = 0;
  double y = 0;
};

struct Polyline {
  std::vector<PicturePoint> points;
  uint32_t color = 0;
  double width = 1;
};

struct Disc {
  PicturePoint center;
  double radius = 1;
  uint32_t color = 0;
};

struct Caption {
  enum class Anchor { kStart, kMiddle, kEnd };

  PicturePoint at;  // on the base line
  Anchor anchor = Anchor::kStart;
  std::string text;  // pixels show ASCII only
  double size = 12;  // of the font
  uint32_t color = 0x333333;
  bool bold = false;
};

using PictureShape = std::variant<Polyline, Disc, Caption>;

// On white; later shapes lie on earlier ones.
struct Picture {
  double width = 0;
  double height = 0;
  std::vector<PictureShape> shapes;
};

// `scale` pixels of the image for one of the picture. Throws Error when that is larger than
// kMaxImagePixels.
Image rasterize(const Picture& picture, double scale = 2);

}  // namespace yoloquant::data
