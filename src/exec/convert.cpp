#include "exec/convert.h"

#include <ATen/ops/from_blob.h>

#include <cstring>

#include "base/error.h"

namespace yoloquant::exec {

c10::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return c10::ScalarType::Float;
    case DType::kFloat16:
      return c10::ScalarType::Half;
    case DType::kBFloat16:
      return c10::ScalarType::BFloat16;
    case DType::kFloat64:
      return c10::ScalarType::Double;
    case DType::kInt8:
      return c10::ScalarType::Char;
    case DType::kUInt8:
      return c10::ScalarType::Byte;
    case DType::kInt16:
      return c10::ScalarType::Short;
    case DType::kInt32:
      return c10::ScalarType::Int;
    case DType::kInt64:
      return c10::ScalarType::Long;
    case DType::kBool:
      return c10::ScalarType::Bool;
  }
  fail("unknown element type");
}

namespace {

DType dtype_of_scalar(c10::ScalarType type) {
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64, DType::kInt8,
        DType::kUInt8, DType::kInt16, DType::kInt32, DType::kInt64, DType::kBool}) {
    if (scalar_type(dtype) == type) return dtype;
  }
  fail("element type {} has no host form", static_cast<int>(type));
}

}  // namespace

at::Tensor view_of(const Tensor& tensor) {
  void* data = const_cast<std::byte*>(tensor.bytes().data());
  return at::from_blob(data, tensor.shape(),
                       at::TensorOptions().dtype(scalar_type(tensor.dtype())));
}

Tensor to_host(const at::Tensor& tensor) {
  const at::Tensor host = tensor.cpu().contiguous();
  Tensor result(dtype_of_scalar(host.scalar_type()), host.sizes().vec());
  std::memcpy(result.mutable_bytes().data(), host.const_data_ptr(), result.bytes().size());
  return result;
}

}  // namespace yoloquant::exec
