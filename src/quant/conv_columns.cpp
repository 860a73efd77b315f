#include "quant/conv_columns.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/parallel.h"
#include "graph/window.h"

namespace yoloquant::quant {

namespace {

// Moves `count` of the cells, drawn at random, to the front.
void draw_uniformly(std::vector<int64_t>& cells, int64_t count, Random& random) {
  std::iota(cells.begin(), cells.end(), int64_t{0});
  for (int64_t i = 0; i < count; ++i) {
    const auto left = static_cast<uint64_t>(static_cast<int64_t>(cells.size()) - i);
    std::swap(cells[i], cells[i + static_cast<int64_t>(random.below(left))]);
  }
}

// Of one image, where they matter at all: an image without detections has no weights.
at::Tensor weights_of(const PositionDraw& draw, int64_t image) {
  if (!draw.weights.defined()) return {};
  const at::Tensor weights =
      draw.weights[draw.first + image].to(c10::ScalarType::Float).contiguous();
  return weights.sum().item<double>() > 0 ? weights : at::Tensor();
}

}  // namespace

std::vector<int64_t> draw_by_weight(std::span<const float> weights, int64_t count, Random& random) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double stride = total / static_cast<double>(count);
  std::vector<int64_t> chosen;
  chosen.reserve(static_cast<size_t>(count));
  const auto is_full = [&] { return static_cast<int64_t>(chosen.size()) >= count; };
  double next = random.uniform() * stride;
  double sum = 0;
  for (size_t i = 0; i < weights.size() && !is_full(); ++i) {
    sum += weights[i];
    for (; !is_full() && next < sum; next += stride) chosen.push_back(static_cast<int64_t>(i));
  }
  // What rounding errors have left over.
  chosen.resize(static_cast<size_t>(count), static_cast<int64_t>(weights.size()) - 1);
  return chosen;
}

std::vector<Position> draw_positions(const graph::Conv& op, int64_t kernel_height,
                                     int64_t kernel_width, const at::Tensor& input,
                                     const PositionDraw& draw, Random& random) {
  const int64_t height = graph::window_extent(input.size(2), op.padding[0] + op.padding[2],
                                              kernel_height, op.dilation[0], op.stride[0]);
  const int64_t width = graph::window_extent(input.size(3), op.padding[1] + op.padding[3],
                                             kernel_width, op.dilation[1], op.stride[1]);
  std::vector<int64_t> cells(static_cast<size_t>(height * width));
  std::vector<Position> positions;
  for (int64_t image = 0; image < input.size(0); ++image) {
    const auto add = [&](int64_t cell) {
      positions.push_back({static_cast<int32_t>(image), static_cast<int32_t>(cell / width),
                           static_cast<int32_t>(cell % width)});
    };
    const at::Tensor weights = weights_of(draw, image);
    const auto most = static_cast<double>(std::min(draw.per_image, height * width));
    const int64_t by_weight = weights.defined() ? std::llround(draw.weighted * most) : 0;
    const int64_t uniform = std::min(draw.per_image - by_weight, height * width);
    draw_uniformly(cells, uniform, random);
    for (int64_t i = 0; i < uniform; ++i) add(cells[i]);
    if (by_weight == 0) continue;
    const std::span<const float> values{weights.const_data_ptr<float>(), cells.size()};
    for (const int64_t cell : draw_by_weight(values, by_weight, random)) add(cell);
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
