#pragma once

#include <ATen/core/Tensor.h>

// Fake quantization with learned step sizes: LSQ (Esser et al. 2020), LSQ+ (Bhalgat et al. 2020).
namespace yoloquant::train {

struct CodeRange {
  int low = -128;
  int high = 127;
};

// How many values of an activation lay outside the range by more than half a step, and how many
// there were, as the backward pass sees them: [2] float64 on the device, so that counting waits for
// nothing. Undefined: not counted. (Nearer ones lose no more than by rounding, and after SiLU a
// good part of the values are within a step of its minimum.)
using ClipCount = at::Tensor;

// Quantizes and dequantizes: with v = x / s,  q(x) = s clamp(round(v), low, high), ties to even, as
// graph::quantize and dequantize do, to the bit. Gradients:
//   dq/dx = 1 within [low, high], else 0;   dq/ds = round(v) - v within, else low or high.
// The parameter is a = log s, so that steps stay positive whatever the optimizer does. What a gets
// as its gradient is
//   G = (dL/ds) / (s sqrt(N high))
// with N values to a step (of one image), i.e. LSQ's gradient scale over s instead of times s: one
// step of gradient descent changes s by the same share as it does in LSQ, where the relative change
// of steps is kept about that of the weights. (dL/da itself is smaller by s^2, some 10^-4: with the
// weights' learning rate nothing would move.) For Adam the two are the same.
// A weight's step that falls far below its weights would get an ever larger gradient: descent from
// scratch then drives steps of logits, which should be small at first, to 0. So below
// s0 = mean |w| / (4 sqrt(high)), an eighth of what LSQ starts from, G is (dL/ds) s / (s0^2 sqrt(N
// high)).

// Weights [O, ...]: `log_step` [O]; `sign` [O] of 1 or -1, for channels whose codes are mirrored
// because a negative factor is folded into them. Float32.
at::Tensor quantize_weight(const at::Tensor& weight, const at::Tensor& log_step,
                           const at::Tensor& sign, CodeRange range);

// Activations [N, ...]: `log_step` [1] and `zero_point` [1], the code of 0, whose rounded value
// shifts the range: q(x) = s clamp(round(v), low - z, high - z). It gets LSQ+'s gradient, scaled as
// that of a (straight through its rounding), when it requires one. Half types are computed in
// float32 and come back as they were.
at::Tensor quantize_activation(const at::Tensor& x, const at::Tensor& log_step,
                               const at::Tensor& zero_point, CodeRange range,
                               const ClipCount& count = {});

// Codes of a weight, as float32 whole numbers, without gradients. `signed_step` [O] is sign * s.
at::Tensor weight_codes(const at::Tensor& weight, const at::Tensor& signed_step, CodeRange range);

// [O] as [O, 1, 1, 1] beside a weight of `rank` dimensions.
at::Tensor by_channel(const at::Tensor& values, int64_t rank);

}  // namespace yoloquant::train
