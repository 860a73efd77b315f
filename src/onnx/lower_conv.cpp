#include <algorithm>

#include "base/error.h"
#include "onnx/lowering.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

using graph::Quantizer;

namespace {

constexpr float kMinNormalHalf = 6.103515625e-05F;  // 2^-14
constexpr float kMaxHalf = 65504.0F;

// float16 scales exist from opset 19 on. Tiny ones would lose their digits as subnormals, so such a
// quantizer keeps float32 scales, with a Cast after it.
DType scale_type(const LoweringContext& at, const Quantizer& quantizer) {
  if (at.dtype == DType::kFloat32 || at.builder.opset() < 19) return DType::kFloat32;
  const bool fits = std::ranges::all_of(
      quantizer.scale, [](float s) { return s >= kMinNormalHalf && s <= kMaxHalf; });
  return fits ? at.dtype : DType::kFloat32;
}

Tensor int8_tensor(Shape shape, const std::vector<int32_t>& values, DType dtype) {
  Tensor tensor(dtype, std::move(shape));
  std::ranges::transform(values, tensor.mutable_bytes().begin(),
                         [](int32_t value) { return static_cast<std::byte>(value & 0xFF); });
  return tensor;
}

std::string cast(const LoweringContext& at, const std::string& suffix, const std::string& value,
                 DType from, DType to) {
  if (from == to) return value;
  return at.aux("Cast", suffix, {value}, {{"to", int64_t{onnx_type(to)}}});
}

Shape parameter_shape(const Quantizer& quantizer) {
  return quantizer.per_channel() ? Shape{static_cast<int64_t>(quantizer.scale.size())} : Shape{};
}

std::string write_scale(const LoweringContext& at, const Quantizer& quantizer,
                        const std::string& part, DType dtype) {
  return at.builder.initializer(
      fmt::format("{}.{}_scale", at.node.name, part),
      Tensor::from<float>(parameter_shape(quantizer), quantizer.scale).to(dtype));
}

Attributes axis_attribute(const Quantizer& quantizer) {
  if (!quantizer.per_channel()) return {};
  return {{"axis", int64_t{quantizer.axis}}};
}

// The names of a quantizer's constants, and what its nodes need besides.
struct Parameters {
  std::string scale;
  std::string zero_point;
  Attributes attributes;
  DType scale_dtype;
  DType code_dtype;
};

Parameters write_parameters(const LoweringContext& at, const Quantizer& quantizer,
                            const std::string& part, DType code_dtype) {
  Parameters result{.scale = {},
                    .zero_point = {},
                    .attributes = axis_attribute(quantizer),
                    .scale_dtype = scale_type(at, quantizer),
                    .code_dtype = code_dtype};
  result.scale = write_scale(at, quantizer, part, result.scale_dtype);
  result.zero_point = at.builder.constant(
      fmt::format("zero_point_{}", dtype_name(code_dtype)),
      int8_tensor(parameter_shape(quantizer), quantizer.zero_point, code_dtype));
  return result;
}

std::string clip(const LoweringContext& at, const std::string& suffix, const std::string& codes,
                 const Quantizer& quantizer, DType code_dtype) {
  const std::string_view type = dtype_name(code_dtype);
  return at.aux("Clip", suffix,
                {codes,
                 at.builder.constant(fmt::format("{}_{}", type, quantizer.qmin),
                                     int8_tensor({}, {quantizer.qmin}, code_dtype)),
                 at.builder.constant(fmt::format("{}_{}", type, quantizer.qmax),
                                     int8_tensor({}, {quantizer.qmax}, code_dtype))});
}

// Codes as small as they can be: 4 bits each where they fit, no Clip, and no zero point where it is
// zero, which is what a missing one means.
std::string compact_weight(const LoweringContext& at, const Quantizer& quantizer) {
  const std::string name = at.node.name + ".weight";
  Tensor codes = graph::quantize(at.graph.parameter(name), quantizer);
  const bool packs =
      quantizer.is_signed() ? quantizer.qmin >= -8 && quantizer.qmax <= 7 : quantizer.qmax <= 15;
  if (packs && !quantizer.is_signed()) codes = Tensor(DType::kUInt8, codes.shape(), codes.bytes());
  const auto store = [&](const std::string& as, const Tensor& tensor) {
    return packs ? at.builder.packed_initializer(as, tensor) : at.builder.initializer(as, tensor);
  };
  const DType dtype = scale_type(at, quantizer);
  std::vector<std::string> inputs{store(name, codes), write_scale(at, quantizer, "weight", dtype)};
  if (std::ranges::any_of(quantizer.zero_point, [](int32_t zero) { return zero != 0; })) {
    inputs.push_back(store(name + "_zero_point", int8_tensor(parameter_shape(quantizer),
                                                             quantizer.zero_point, codes.dtype())));
  }
  const std::string value =
      at.aux("DequantizeLinear", "weight/DequantizeLinear", inputs, axis_attribute(quantizer));
  return cast(at, "weight/Cast", value, dtype, at.dtype);
}

std::string quantized_weight(const LoweringContext& at, const Quantizer& quantizer) {
  if (at.layout == Layout::kInt4) return compact_weight(at, quantizer);
  const std::string name = at.node.name + ".weight";
  const Tensor codes = graph::quantize(at.graph.parameter(name), quantizer);
  const Parameters parameters = write_parameters(at, quantizer, "weight", codes.dtype());
  const std::string clipped =
      clip(at, "weight/Clip", at.builder.initializer(name, codes), quantizer, codes.dtype());
  const std::string value =
      at.aux("DequantizeLinear", "weight/DequantizeLinear",
             {clipped, parameters.scale, parameters.zero_point}, parameters.attributes);
  return cast(at, "weight/Cast", value, parameters.scale_dtype, at.dtype);
}

// QuantizeLinear and DequantizeLinear on the conv's input. QuantizeLinear saturates to the full
// 8-bit range only, so a narrower range takes a Clip on the codes.
std::string quantized_input(const LoweringContext& at, const Quantizer& quantizer) {
  graph::check(quantizer, at.input_shape(0));
  if (quantizer.per_channel() && at.builder.opset() < 13) fail("per-channel input quantization");
  const DType code_dtype = quantizer.is_signed() ? DType::kInt8 : DType::kUInt8;
  const Parameters parameters = write_parameters(at, quantizer, "input", code_dtype);
  const std::string input = cast(at, "input/Cast", at.inputs[0], at.dtype, parameters.scale_dtype);
  const std::vector<std::string> scale{parameters.scale, parameters.zero_point};
  std::string codes = at.aux("QuantizeLinear", "input/QuantizeLinear", {input, scale[0], scale[1]},
                             parameters.attributes);
  const bool full_range = quantizer.qmax - quantizer.qmin == 255;
  if (!full_range) codes = clip(at, "input/Clip", codes, quantizer, code_dtype);
  const std::string value = at.aux("DequantizeLinear", "input/DequantizeLinear",
                                   {codes, scale[0], scale[1]}, parameters.attributes);
  return cast(at, "input/Cast_1", value, parameters.scale_dtype, at.dtype);
}

}  // namespace

void lower_conv(const LoweringContext& at, const graph::Conv& conv) {
  const auto found = at.graph.quantization.find(at.node.name);
  const graph::ConvQuantization annotation =
      found == at.graph.quantization.end() ? graph::ConvQuantization() : found->second;
  std::vector<std::string> inputs;
  inputs.push_back(annotation.input ? quantized_input(at, *annotation.input) : at.inputs[0]);
  inputs.push_back(annotation.weight ? quantized_weight(at, *annotation.weight)
                                     : at.parameter("weight"));
  if (conv.has_bias) inputs.push_back(at.parameter("bias"));
  const Shape& kernel = at.graph.parameter(at.node.name + ".weight").shape();
  at.emit("Conv", inputs,
          {{"dilations", std::vector<int64_t>(conv.dilation.begin(), conv.dilation.end())},
           {"group", conv.groups},
           {"kernel_shape", std::vector<int64_t>(kernel.begin() + 2, kernel.end())},
           {"pads", std::vector<int64_t>(conv.padding.begin(), conv.padding.end())},
           {"strides", std::vector<int64_t>(conv.stride.begin(), conv.stride.end())}});
}

}  // namespace yoloquant::onnx
