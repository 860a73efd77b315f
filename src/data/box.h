#pragma once

namespace yoloquant::data {

// A box by its corners, in pixels; x grows to the right, y downwards. Pixel i covers [i, i+1).
struct Box {
  double x1 = 0;
  double y1 = 0;
  double x2 = 0;
  double y2 = 0;

  double width() const { return x2 - x1; }
  double height() const { return y2 - y1; }
};

}  // namespace yoloquant::data
