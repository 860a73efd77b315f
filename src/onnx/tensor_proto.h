#pragma once

#include <optional>
#include <string>
#include <vector>

#include "onnx/proto.h"
#include "tensor/tensor.h"

// Private to this layer: host tensors to and from ONNX's TensorProto.
namespace yoloquant::onnx {

int onnx_type(DType dtype);
// The tensor type of an ONNX data type; empty for those without one of their own (int4, string,
// ...).
std::optional<DType> tensor_type(int data_type);
// INT4 and UINT4, of which a byte holds two.
bool is_packed(int data_type);
// "float32", "int4", ... of a TensorProto::DataType.
std::string data_type_name(int data_type);
// Bits of one element; 0 for strings and unknown types.
int64_t data_type_bits(int data_type);

// Always raw_data: typed fields such as int32_data take up to five times the space.
pb::TensorProto to_proto(const std::string& name, const Tensor& tensor);

// int8 or uint8 codes as INT4 or UINT4: two in a byte, the first in the low half.
// REQUIRES: they fit [-8, 7] or [0, 15].
pb::TensorProto to_packed_proto(const std::string& name, const Tensor& codes);

Shape dims_of(const pb::TensorProto& proto);

// Bytes that the dimensions and type call for. Throws Error for negative or huge dimensions.
int64_t expected_bytes(const pb::TensorProto& proto);

// What is wrong with where the elements are and how many there are; "" when nothing is. External
// data is not looked at.
std::string data_problem(const pb::TensorProto& proto);

// Elements from raw_data or the typed fields; INT4 as int8, UINT4 as uint8. Throws Error that names
// the tensor when the data does not fit its shape or is of a type without a Tensor. External data
// must have been loaded.
Tensor from_proto(const pb::TensorProto& proto);

}  // namespace yoloquant::onnx
