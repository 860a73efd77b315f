#include "graph/quantizer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace yoloquant::graph {

void check(const Quantizer& quantizer, const Shape& shape) {
  const auto rank = static_cast<int>(shape.size());
  if (quantizer.axis < -1 || (quantizer.axis >= rank && rank > 0)) {
    fail("quantization axis {} for shape {}", quantizer.axis, shape_string(shape));
  }
  const size_t expected = quantizer.axis < 0 ? 1 : static_cast<size_t>(shape.at(quantizer.axis));
  if (quantizer.scale.size() != expected || quantizer.zero_point.size() != expected) {
    fail("quantizer has {} scales and {} zero points for {} channels", quantizer.scale.size(),
         quantizer.zero_point.size(), expected);
  }
  if (quantizer.qmin > 0 || quantizer.qmax <= 0 || quantizer.qmin < -128 || quantizer.qmax > 255 ||
      quantizer.qmax - quantizer.qmin > 255 || (quantizer.qmin < 0 && quantizer.qmax > 127)) {
    fail("code range [{}, {}] does not fit 8 bits", quantizer.qmin, quantizer.qmax);
  }
  for (const float scale : quantizer.scale) {
    if (!(scale > 0) || !std::isfinite(scale)) fail("quantization scale {} is not positive", scale);
  }
  for (const int32_t zero : quantizer.zero_point) {
    if (zero < quantizer.qmin || zero > quantizer.qmax) {
      fail("zero point {} lies outside [{}, {}]", zero, quantizer.qmin, quantizer.qmax);
    }
  }
}

namespace {

// Calls body(begin, end, channel) for each run of elements that share a scale.
template <typename Body>
void for_each_run(const Shape& shape, const Quantizer& quantizer, Body body) {
  const int64_t size = element_count(shape);
  if (!quantizer.per_channel()) {
    body(int64_t{0}, size, size_t{0});
    return;
  }
  const int64_t channels = shape[quantizer.axis];
  int64_t inner = 1;
  for (size_t i = quantizer.axis + 1; i < shape.size(); ++i) inner *= shape[i];
  for (int64_t begin = 0; begin < size; begin += inner) {
    body(begin, begin + inner, static_cast<size_t>(begin / inner % channels));
  }
}

template <typename Code>
Tensor quantize_as(const Tensor& values, const Quantizer& quantizer) {
  Tensor codes(dtype_of<Code>(), values.shape());
  const auto in = values.data<float>();
  const auto out = codes.mutable_data<Code>();
  const auto low = static_cast<float>(quantizer.qmin);
  const auto high = static_cast<float>(quantizer.qmax);
  for_each_run(values.shape(), quantizer, [&](int64_t begin, int64_t end, size_t channel) {
    const float scale = quantizer.scale[channel];
    const auto zero = static_cast<float>(quantizer.zero_point[channel]);
    for (int64_t i = begin; i < end; ++i) {
      const float code = std::nearbyint(in[i] / scale) + zero;
      // NaN fails both comparisons and becomes the lowest code instead of an undefined cast.
      out[i] = static_cast<Code>(code >= low ? std::min(code, high) : low);
    }
  });
  return codes;
}

template <typename Code>
Tensor dequantize_from(const Tensor& codes, const Quantizer& quantizer) {
  Tensor values(DType::kFloat32, codes.shape());
  const auto in = codes.data<Code>();
  const auto out = values.mutable_data<float>();
  for_each_run(codes.shape(), quantizer, [&](int64_t begin, int64_t end, size_t channel) {
    const float scale = quantizer.scale[channel];
    const int32_t zero = quantizer.zero_point[channel];
    for (int64_t i = begin; i < end; ++i) out[i] = static_cast<float>(in[i] - zero) * scale;
  });
  return values;
}

}  // namespace

Tensor quantize(const Tensor& values, const Quantizer& quantizer) {
  check(quantizer, values.shape());
  return quantizer.qmax <= 127 ? quantize_as<int8_t>(values, quantizer)
                               : quantize_as<uint8_t>(values, quantizer);
}

Tensor dequantize(const Tensor& codes, const Quantizer& quantizer) {
  check(quantizer, codes.shape());
  return codes.dtype() == DType::kInt8 ? dequantize_from<int8_t>(codes, quantizer)
                                       : dequantize_from<uint8_t>(codes, quantizer);
}

}  // namespace yoloquant::graph
