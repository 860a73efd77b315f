#pragma once

#include <string>

#include "graph/quantizer.h"
#include "onnx/model_builder.h"
#include "onnx/writer.h"
#include "tensor/tensor.h"

// Private to this layer.
namespace yoloquant::onnx {

// Writes one quantizer: its constants and the nodes that apply it.
class QuantizerWriter {
 public:
  // `dtype` is of the float values; nodes are named NODES/OPERATOR, constants CONSTANTS_scale and
  // so on.
  QuantizerWriter(ModelBuilder& builder, DType dtype, std::string nodes, std::string constants)
      : builder_(builder),
        dtype_(dtype),
        nodes_(std::move(nodes)),
        constants_(std::move(constants)) {}

  // QuantizeLinear and DequantizeLinear on a value of `dtype`. QuantizeLinear saturates to the full
  // 8-bit range only, so a narrower range takes a Clip on the codes.
  std::string fake_quantize(const std::string& value, const graph::Quantizer& quantizer) const;

  // The codes of a float32 weight as the layout has them, dequantized to `dtype`. The codes carry
  // the name CONSTANTS.
  std::string weight(const Tensor& values, const graph::Quantizer& quantizer, Layout layout) const;

 private:
  struct Parameters;

  std::string node(const std::string& op, const std::vector<std::string>& inputs,
                   const Attributes& attributes = {}) const;
  std::string cast(const std::string& value, DType from, DType to) const;
  DType scale_type(const graph::Quantizer& quantizer) const;
  std::string scale(const graph::Quantizer& quantizer, DType dtype) const;
  Parameters parameters(const graph::Quantizer& quantizer, DType code_dtype) const;
  std::string clip(const std::string& codes, const graph::Quantizer& quantizer,
                   DType code_dtype) const;
  std::string unclipped_weight(Tensor codes, const graph::Quantizer& quantizer, bool pack) const;

  ModelBuilder& builder_;
  DType dtype_;
  std::string nodes_;
  std::string constants_;
};

}  // namespace yoloquant::onnx
