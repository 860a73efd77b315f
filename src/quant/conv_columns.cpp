#include "quant/conv_columns.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "base/parallel.h"
#include "graph/window.h"

namespace yoloquant::quant {

std::vector<Position> draw_positions(const graph::Conv& op, int64_t kernel_height,
                                     int64_t kernel_width, const at::Tensor& input,
                                     int64_t per_image, Random& random) {
  const int64_t height = graph::window_extent(input.size(2), op.padding[0] + op.padding[2],
                                              kernel_height, op.dilation[0], op.stride[0]);
  const int64_t width = graph::window_extent(input.size(3), op.padding[1] + op.padding[3],
                                             kernel_width, op.dilation[1], op.stride[1]);
  const int64_t cells = height * width;
  std::vector<Position> positions;
  std::vector<int64_t> cell(static_cast<size_t>(cells));
  for (int64_t image = 0; image < input.size(0); ++image) {
    std::iota(cell.begin(), cell.end(), int64_t{0});
    const int64_t count = std::min(per_image, cells);
    for (int64_t i = 0; i < count; ++i) {
      std::swap(cell[i], cell[i + random.below(static_cast<uint64_t>(cells - i))]);
      positions.push_back({static_cast<int32_t>(image), static_cast<int32_t>(cell[i] / width),
                           static_cast<int32_t>(cell[i] % width)});
    }
  }
  return positions;
}

at::Tensor gather_columns(const graph::Conv& op, int64_t kernel_height, int64_t kernel_width,
                          const at::Tensor& input, const std::vector<Position>& positions) {
  const int64_t groups = op.groups;
  const int64_t per_group = input.size(1) / groups;
  const int64_t columns = per_group * kernel_height * kernel_width;
  const auto rows = static_cast<int64_t>(positions.size());
  at::Tensor result = at::zeros({groups, rows, columns}, input.options());
  const at::IntArrayRef stride = input.strides();
  const auto* source = input.const_data_ptr<float>();
  auto* target = result.mutable_data_ptr<float>();
  parallel_for_blocks(positions.size(), 0, [&](size_t begin, size_t end) {
    for (size_t row = begin; row < end; ++row) {
      const Position& p = positions[row];
      const float* image = source + p.image * stride[0];
      for (int64_t ky = 0; ky < kernel_height; ++ky) {
        const int64_t y = p.y * op.stride[0] - op.padding[0] + ky * op.dilation[0];
        if (y < 0 || y >= input.size(2)) continue;
        for (int64_t kx = 0; kx < kernel_width; ++kx) {
          const int64_t x = p.x * op.stride[1] - op.padding[1] + kx * op.dilation[1];
          if (x < 0 || x >= input.size(3)) continue;
          const float* pixel = image + y * stride[2] + x * stride[3];
          float* out = target + static_cast<int64_t>(row) * columns + ky * kernel_width + kx;
          for (int64_t g = 0; g < groups; ++g) {
            for (int64_t c = 0; c < per_group; ++c) {
              out[g * rows * columns + c * kernel_height * kernel_width] =
                  pixel[(g * per_group + c) * stride[1]];
            }
          }
        }
      }
    }
  });
  return result;
}

}  // namespace yoloquant::quant
