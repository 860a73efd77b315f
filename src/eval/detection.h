#pragma once

#include <cstdint>

namespace yoloquant::eval {

// A decoded detection: corners in pixels of the letterboxed input.
struct Detection {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  float score = 0;
  int32_t class_id = 0;

  friend bool operator==(const Detection&, const Detection&) = default;
};

}  // namespace yoloquant::eval
