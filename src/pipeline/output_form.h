#pragma once

#include <cstdint>

#include "tensor/tensor.h"

// Internal to the layer.
namespace yoloquant::pipeline {

// How a detector's output is laid out.
enum class OutputForm : uint8_t {
  kRaw,       // [N, 4 + classes, A]: boxes cxcywh, class scores (YOLOv8 and later)
  kRows,      // [N, 3 A, 5 + classes]: cxcywh, objectness, class scores (YOLOv5)
  kEndToEnd,  // [N, K, 6]: x1, y1, x2, y2, score, class
  kOther,
};

// By shape: kRows when the rows are three for each cell of levels with strides 8, 16, 32 (and 64).
// Extents that are not known are -1.
OutputForm output_form(const Shape& output, const Shape& input);

// Classes of such an output; 0 when the shape does not say.
int64_t class_count_of(OutputForm form, const Shape& output);

}  // namespace yoloquant::pipeline
