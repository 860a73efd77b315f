#pragma once

#include <ATen/core/Tensor.h>

// Internal to the layer: the passes over memory behind lsq.h.
namespace yoloquant::train {

// One step size a row, rows of equal length.
struct Grid {
  at::Tensor step;  // [rows], may be negative
  at::Tensor low;   // [1]
  at::Tensor high;  // [1]
};

struct GridGradients {
  at::Tensor x;
  at::Tensor step;     // [rows]: sum over the row
  at::Tensor outside;  // [rows]: sum of the gradients of values outside the range
  at::Tensor clipped;  // [1] float64: values more than half a step outside the range
};

// x float32, dense; its memory is [rows, x.numel() / rows].
at::Tensor quantize_rows(const at::Tensor& x, const Grid& grid);
// `gradient` is laid out as x. The sums do not depend on the number of threads.
GridGradients quantize_rows_backward(const at::Tensor& x, const at::Tensor& gradient,
                                     const Grid& grid);

// The same by elementwise operators: what other devices than the CPU use.
at::Tensor quantize_rows_by_operators(const at::Tensor& x, const Grid& grid);
GridGradients quantize_rows_backward_by_operators(const at::Tensor& x, const at::Tensor& gradient,
                                                  const Grid& grid);

}  // namespace yoloquant::train
