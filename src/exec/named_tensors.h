#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "tensor/tensor.h"

namespace yoloquant::exec {

// What training works on, by name: parameters, running statistics, moments. The map shares the
// tensors with their owner.
using NamedTensors = std::map<std::string, at::Tensor>;

// Host copies, for files.
TensorMap to_host(const NamedTensors& tensors);

// Copies host tensors into those of the same name, keeping their device. `source` may hold more.
// Throws Error that names `what` and the tensor when one is missing or has another shape or type.
void copy_into(const NamedTensors& target, const TensorMap& source, const std::string& what);

}  // namespace yoloquant::exec
