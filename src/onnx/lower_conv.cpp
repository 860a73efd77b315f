#include "base/error.h"
#include "onnx/lower_quantizer.h"
#include "onnx/lowering.h"

namespace yoloquant::onnx {

using graph::Quantizer;

namespace {

std::string quantized_weight(const LoweringContext& at, const Quantizer& quantizer) {
  const std::string name = at.node.name + ".weight";
  return QuantizerWriter(at.builder, at.dtype, at.node.name + "/weight", name)
      .weight(at.graph.parameter(name), quantizer, at.layout);
}

std::string quantized_input(const LoweringContext& at, const Quantizer& quantizer) {
  graph::check(quantizer, at.input_shape(0));
  if (quantizer.per_channel() && at.builder.opset() < 13) fail("per-channel input quantization");
  return QuantizerWriter(at.builder, at.dtype, at.node.name + "/input", at.node.name + ".input")
      .fake_quantize(at.inputs[0], quantizer);
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
