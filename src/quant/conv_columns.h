#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "graph/operators.h"

// A conv as a matrix product: sampled rows of its im2col matrix.
namespace yoloquant::quant {

// An output position of a conv.
struct Position {
  int32_t image;
  int32_t y;
  int32_t x;
};

// How many positions of each image are drawn, and how.
struct PositionDraw {
  int64_t per_image = 0;
  double weighted = 0;  // the share of these that is drawn by weight
  at::Tensor weights;   // of images [N, H * W]; undefined: all positions count the same
  int64_t first = 0;    // the input's first image among these
};

// Positions of a conv's output for this input [N, C, H, W]: uniformly without replacement, and the
// share `weighted` of them in proportion to `weights`, where an image has any.
std::vector<Position> draw_positions(const graph::Conv& op, int64_t kernel_height,
                                     int64_t kernel_width, const at::Tensor& input,
                                     const PositionDraw& draw, Random& random);

// `count` indices, each as often as its weight asks for (systematic sampling).
std::vector<int64_t> draw_by_weight(std::span<const float> weights, int64_t count, Random& random);

// What the conv's weights [O, I/groups, KH, KW] are multiplied with at these positions:
// [groups, rows, K], K = I/groups * KH * KW in the order of the weight. Zero padding included.
at::Tensor gather_columns(const graph::Conv& op, int64_t kernel_height, int64_t kernel_width,
                          const at::Tensor& input, const std::vector<Position>& positions);

}  // namespace yoloquant::quant
