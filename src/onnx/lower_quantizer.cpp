#include "onnx/lower_quantizer.h"

#include <algorithm>

#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

using graph::Quantizer;

namespace {

constexpr float kMinNormalHalf = 6.103515625e-05F;  // 2^-14
constexpr float kMaxHalf = 65504.0F;

Tensor int8_tensor(Shape shape, const std::vector<int32_t>& values, DType dtype) {
  Tensor tensor(dtype, std::move(shape));
  std::ranges::transform(values, tensor.mutable_bytes().begin(),
                         [](int32_t value) { return static_cast<std::byte>(value & 0xFF); });
  return tensor;
}

Shape parameter_shape(const Quantizer& quantizer) {
  return quantizer.per_channel() ? Shape{static_cast<int64_t>(quantizer.scale.size())} : Shape{};
}

Attributes axis_attribute(const Quantizer& quantizer) {
  if (!quantizer.per_channel()) return {};
  return {{"axis", int64_t{quantizer.axis}}};
}

bool fits_4_bits(const Quantizer& quantizer) {
  return quantizer.is_signed() ? quantizer.qmin >= -8 && quantizer.qmax <= 7 : quantizer.qmax <= 15;
}

}  // namespace

// The names of a quantizer's constants, and what its nodes need besides.
struct QuantizerWriter::Parameters {
  std::string scale;
  std::string zero_point;
  Attributes attributes;
  DType scale_dtype;
};

std::string QuantizerWriter::node(const std::string& op, const std::vector<std::string>& inputs,
                                  const Attributes& attributes) const {
  return builder_.add(op, nodes_ + "/" + op, inputs, attributes);
}

std::string QuantizerWriter::cast(const std::string& value, DType from, DType to) const {
  if (from == to) return value;
  return node("Cast", {value}, {{"to", int64_t{onnx_type(to)}}});
}

// float16 scales exist from opset 19 on. Tiny ones would lose their digits as subnormals, so such a
// quantizer keeps float32 scales, with a Cast after it.
DType QuantizerWriter::scale_type(const Quantizer& quantizer) const {
  if (dtype_ == DType::kFloat32 || builder_.opset() < 19) return DType::kFloat32;
  const bool fits = std::ranges::all_of(
      quantizer.scale, [](float s) { return s >= kMinNormalHalf && s <= kMaxHalf; });
  return fits ? dtype_ : DType::kFloat32;
}

std::string QuantizerWriter::scale(const Quantizer& quantizer, DType dtype) const {
  return builder_.initializer(
      constants_ + "_scale",
      Tensor::from<float>(parameter_shape(quantizer), quantizer.scale).to(dtype));
}

QuantizerWriter::Parameters QuantizerWriter::parameters(const Quantizer& quantizer,
                                                        DType code_dtype) const {
  const DType dtype = scale_type(quantizer);
  return {.scale = scale(quantizer, dtype),
          .zero_point = builder_.constant(
              fmt::format("zero_point_{}", dtype_name(code_dtype)),
              int8_tensor(parameter_shape(quantizer), quantizer.zero_point, code_dtype)),
          .attributes = axis_attribute(quantizer),
          .scale_dtype = dtype};
}

std::string QuantizerWriter::clip(const std::string& codes, const Quantizer& quantizer,
                                  DType code_dtype) const {
  const auto bound = [&](int32_t value) {
    return builder_.constant(fmt::format("{}_{}", dtype_name(code_dtype), value),
                             int8_tensor({}, {value}, code_dtype));
  };
  return node("Clip", {codes, bound(quantizer.qmin), bound(quantizer.qmax)});
}

std::string QuantizerWriter::fake_quantize(const std::string& value,
                                           const Quantizer& quantizer) const {
  const DType code_dtype = quantizer.is_signed() ? DType::kInt8 : DType::kUInt8;
  const Parameters p = parameters(quantizer, code_dtype);
  std::string codes = node(
      "QuantizeLinear", {cast(value, dtype_, p.scale_dtype), p.scale, p.zero_point}, p.attributes);
  const bool full_range = quantizer.qmax - quantizer.qmin == 255;
  if (!full_range) codes = clip(codes, quantizer, code_dtype);
  return cast(node("DequantizeLinear", {codes, p.scale, p.zero_point}, p.attributes), p.scale_dtype,
              dtype_);
}

std::string QuantizerWriter::weight(const Tensor& values, const Quantizer& quantizer,
                                    Layout layout) const {
  Tensor codes = graph::quantize(values, quantizer);
  if (layout != Layout::kQcdq) {
    return unclipped_weight(std::move(codes), quantizer,
                            layout == Layout::kInt4 && fits_4_bits(quantizer));
  }
  const DType code_dtype = codes.dtype();
  const Parameters p = parameters(quantizer, code_dtype);
  const std::string clipped = clip(builder_.initializer(constants_, codes), quantizer, code_dtype);
  return cast(node("DequantizeLinear", {clipped, p.scale, p.zero_point}, p.attributes),
              p.scale_dtype, dtype_);
}

// Codes within their range need no Clip, and a missing zero point is zero.
std::string QuantizerWriter::unclipped_weight(Tensor codes, const Quantizer& quantizer,
                                              bool pack) const {
  if (pack && !quantizer.is_signed()) codes = Tensor(DType::kUInt8, codes.shape(), codes.bytes());
  const auto store = [&](const std::string& as, const Tensor& tensor) {
    return pack ? builder_.packed_initializer(as, tensor) : builder_.initializer(as, tensor);
  };
  const DType dtype = scale_type(quantizer);
  std::vector<std::string> inputs{store(constants_, codes), scale(quantizer, dtype)};
  if (std::ranges::any_of(quantizer.zero_point, [](int32_t zero) { return zero != 0; })) {
    inputs.push_back(
        store(constants_ + "_zero_point",
              int8_tensor(parameter_shape(quantizer), quantizer.zero_point, codes.dtype())));
  }
  return cast(node("DequantizeLinear", inputs, axis_attribute(quantizer)), dtype, dtype_);
}

}  // namespace yoloquant::onnx
