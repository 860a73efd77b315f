#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tensor/tensor.h"

namespace yoloquant::graph {

// Uniform quantization: code = clamp(round(x / scale) + zero_point, qmin, qmax) with ties to even,
// and back: (code - zero_point) * scale. This is ONNX's QuantizeLinear and DequantizeLinear, to the
// bit (division, not multiplication by a reciprocal).
struct Quantizer {
  int bits = 8;
  int32_t qmin = -128;
  int32_t qmax = 127;
  int axis = -1;                    // -1: one scale for the tensor; else one per index along axis
  std::vector<float> scale;         // positive
  std::vector<int32_t> zero_point;  // as many as scale; 0 when symmetric

  bool per_channel() const { return axis >= 0; }
  bool is_signed() const { return qmin < 0; }
};

// What is quantized at a conv: its weight, and its input (absent: stays float).
struct ConvQuantization {
  std::optional<Quantizer> weight;
  std::optional<Quantizer> input;
};

// Throws Error unless scales are positive and finite, sizes fit `shape`, and the zero points and
// code range fit 8 bits.
void check(const Quantizer& quantizer, const Shape& shape);

// Codes of a float32 tensor: int8 when qmax <= 127, else uint8; same shape.
Tensor quantize(const Tensor& values, const Quantizer& quantizer);
// Float32 values of codes.
Tensor dequantize(const Tensor& codes, const Quantizer& quantizer);

}  // namespace yoloquant::graph
