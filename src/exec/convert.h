#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include "tensor/tensor.h"

namespace yoloquant::exec {

c10::ScalarType scalar_type(DType dtype);

// A view of a host tensor's bytes: valid while `tensor` lives and is not written to.
at::Tensor view_of(const Tensor& tensor);

// A host copy, contiguous; half types stay half.
Tensor to_host(const at::Tensor& tensor);

}  // namespace yoloquant::exec
