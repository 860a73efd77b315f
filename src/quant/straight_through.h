#pragma once

#include <ATen/core/Tensor.h>

#include "graph/quantizer.h"

// Rounding that gradients pass through unchanged.
namespace yoloquant::quant {

// round(x) with the gradient of x.
at::Tensor straight_through_round(const at::Tensor& x);

// Quantizes and dequantizes activations (one scale), float32; gradients pass within the range.
at::Tensor straight_through_quantize(const at::Tensor& x, const graph::Quantizer& quantizer);

}  // namespace yoloquant::quant
