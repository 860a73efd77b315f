#include "train/lsq_kernels.h"

#include <ATen/ops/clamp.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/eq.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/round.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "exec/parallel.h"
#include "quant/simd.h"
#include "quant/simd_math.h"

namespace yoloquant::train {

namespace {

using quant::kRounder;

constexpr int64_t kBlock = 16384;  // values whose sums are kept in float32
constexpr int kLanes = 16;

YOLOQUANT_SIMD void quantize_run(const float* x, float* out, int64_t count, float step, float low,
                                 float high) {
  for (int64_t i = 0; i < count; ++i) {
    float code = x[i] / step;
    code = code < low ? low : code;
    code = code > high ? high : code;
    out[i] = ((code + kRounder) - kRounder) * step;
  }
}

struct Sums {
  double step = 0;
  double outside = 0;
  double clipped = 0;
};

YOLOQUANT_SIMD void gradient_run(const float* x, const float* gradient, float* out, int64_t count,
                                 float step, float low, float high, Sums* sums) {
  float of_step[kLanes] = {};
  float outside[kLanes] = {};
  float clipped[kLanes] = {};
  const auto one = [&](int64_t i, int lane) __attribute__((always_inline)) {
    const float v = x[i] / step;
    const float g = gradient[i];
    float code = v < low ? low : v;
    code = code > high ? high : code;
    const bool inside = code == v;
    const float rounded = (code + kRounder) - kRounder;
    const float past = inside ? 0.0F : g;
    out[i] = g - past;
    of_step[lane] += g * rounded - (g - past) * code;
    outside[lane] += past;
    const float beyond = v > code ? v - code : code - v;
    clipped[lane] += beyond > 0.5F ? 1.0F : 0.0F;
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) one(i + lane, lane);
  }
  for (; i < count; ++i) one(i, 0);
  for (int lane = 0; lane < kLanes; ++lane) {
    sums->step += of_step[lane];
    sums->outside += outside[lane];
    sums->clipped += clipped[lane];
  }
}

// Where rows are cut, so that the sums do not depend on the threads.
struct Blocks {
  int64_t rows;
  int64_t length;      // of a row
  int64_t in_row;      // blocks of a row
  int64_t per_thread;  // blocks worth a thread

  Blocks(const at::Tensor& x, const Grid& grid)
      : rows(grid.step.numel()),
        length(x.numel() / std::max<int64_t>(rows, 1)),
        in_row((length + kBlock - 1) / kBlock),
        per_thread(std::max<int64_t>(1, 2 * kBlock / std::max<int64_t>(length, 1))) {}

  // body(block, row, first value, values)
  void for_each(const std::function<void(int64_t, int64_t, int64_t, int64_t)>& body) const {
    exec::parallel_for(rows * in_row, per_thread, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t from = b % in_row * kBlock;
        body(b, b / in_row, b / in_row * length + from, std::min(kBlock, length - from));
      }
    });
  }
};

// [rows] beside x, whose first axis has the rows; one row: [1] beside anything.
at::Tensor beside(const at::Tensor& values, const at::Tensor& x) {
  if (values.numel() == 1) return values;
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = values.numel();
  return values.view(shape);
}

at::Tensor sum_rows(const at::Tensor& values, int64_t rows) {
  return rows == 1 ? values.sum().view({1}) : values.flatten(1).sum(1);
}

}  // namespace

at::Tensor quantize_rows(const at::Tensor& x, const Grid& grid) {
  if (!x.is_cpu()) return quantize_rows_by_operators(x, grid);
  at::Tensor result = at::empty_like(x);
  const auto low = grid.low.item<float>();
  const auto high = grid.high.item<float>();
  const auto* step = grid.step.const_data_ptr<float>();
  const auto* in = x.const_data_ptr<float>();
  auto* out = result.mutable_data_ptr<float>();
  Blocks(x, grid).for_each([&](int64_t, int64_t row, int64_t first, int64_t count) {
    quantize_run(in + first, out + first, count, step[row], low, high);
  });
  return result;
}

GridGradients quantize_rows_backward(const at::Tensor& x, const at::Tensor& gradient,
                                     const Grid& grid) {
  if (!x.is_cpu()) return quantize_rows_backward_by_operators(x, gradient, grid);
  GridGradients result;
  result.x = at::empty_like(x);
  const auto low = grid.low.item<float>();
  const auto high = grid.high.item<float>();
  const auto* step = grid.step.const_data_ptr<float>();
  const auto* in = x.const_data_ptr<float>();
  const auto* g = gradient.const_data_ptr<float>();
  auto* out = result.x.mutable_data_ptr<float>();
  const Blocks blocks(x, grid);
  std::vector<Sums> sums(static_cast<size_t>(blocks.rows * blocks.in_row));
  blocks.for_each([&](int64_t block, int64_t row, int64_t first, int64_t count) {
    gradient_run(in + first, g + first, out + first, count, step[row], low, high,
                 &sums[static_cast<size_t>(block)]);
  });
  result.step = at::zeros({blocks.rows}, x.options());
  result.outside = at::zeros({blocks.rows}, x.options());
  double clipped = 0;
  for (int64_t row = 0; row < blocks.rows; ++row) {
    Sums total;
    for (int64_t b = row * blocks.in_row; b < (row + 1) * blocks.in_row; ++b) {
      const Sums& part = sums[static_cast<size_t>(b)];
      total.step += part.step;
      total.outside += part.outside;
      clipped += part.clipped;
    }
    result.step.mutable_data_ptr<float>()[row] = static_cast<float>(total.step);
    result.outside.mutable_data_ptr<float>()[row] = static_cast<float>(total.outside);
  }
  result.clipped = at::zeros({1}, x.options().dtype(at::kDouble)).fill_(clipped);
  return result;
}

at::Tensor quantize_rows_by_operators(const at::Tensor& x, const Grid& grid) {
  const at::Tensor step = beside(grid.step, x);
  return at::clamp(at::div(x, step), grid.low, grid.high).round_().mul_(step);
}

GridGradients quantize_rows_backward_by_operators(const at::Tensor& x, const at::Tensor& gradient,
                                                  const Grid& grid) {
  const at::Tensor v = at::div(x, beside(grid.step, x));
  const at::Tensor code = at::clamp(v, grid.low, grid.high);
  const at::Tensor inside = at::eq(code, v);
  GridGradients result;
  result.x = at::mul(gradient, inside);
  const at::Tensor past = at::sub(gradient, result.x);
  const int64_t rows = grid.step.numel();
  const at::Tensor slope = at::sub(at::round(code), at::mul(code, inside));
  result.step = sum_rows(at::mul(gradient, slope), rows);
  result.outside = sum_rows(past, rows);
  result.clipped = at::sub(v, code).abs_().gt_(0.5).sum().to(at::kDouble).view({1});
  return result;
}

}  // namespace yoloquant::train
