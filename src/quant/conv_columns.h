#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "graph/operators.h"

// A conv as a matrix product: sampled rows of its im2col matrix.
namespace yoloquant::quant {

// Output positions (image, row, column) of a conv, drawn at random without replacement per image.
struct Position {
  int32_t image;
  int32_t y;
  int32_t x;
};

// Extent of the conv's output for an input of this shape.
std::vector<Position> draw_positions(const graph::Conv& op, int64_t kernel_height,
                                     int64_t kernel_width, const at::Tensor& input,
                                     int64_t per_image, Random& random);

// What the conv's weights [O, I/groups, KH, KW] are multiplied with at these positions:
// [groups, rows, K], K = I/groups * KH * KW in the order of the weight. Zero padding included.
at::Tensor gather_columns(const graph::Conv& op, int64_t kernel_height, int64_t kernel_width,
                          const at::Tensor& input, const std::vector<Position>& positions);

}  // namespace yoloquant::quant
