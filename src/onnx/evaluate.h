#pragma once

#include <optional>
#include <vector>

#include "onnx/proto.h"
#include "tensor/tensor.h"

// Private to this layer: computing nodes whose inputs are all constants. Only what sizes, indices
// and anchor points are computed with; never QuantizeLinear, DequantizeLinear or Clip.
namespace yoloquant::onnx {

// Whether `evaluate` knows the operator.
bool can_evaluate(const pb::NodeProto& node);

// The node's output for constant inputs (nullptr: an input that is left out). Empty when the node
// cannot be computed: unknown types, malformed operands, or more than `max_elements` results.
std::optional<Tensor> evaluate(const pb::NodeProto& node, const std::vector<const Tensor*>& inputs,
                               int64_t max_elements);

// What a Shape node makes for an input of this shape, its `start` and `end` (opset 15) respected.
Tensor shape_value(const pb::NodeProto& node, const Shape& shape);

// The value of a Constant node; empty for kinds that hold no tensor.
std::optional<Tensor> constant_value(const pb::NodeProto& node);

}  // namespace yoloquant::onnx
