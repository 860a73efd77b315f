#include "exec/named_tensors.h"

#include "base/error.h"
#include "exec/convert.h"

namespace yoloquant::exec {

TensorMap to_host(const NamedTensors& tensors) {
  TensorMap result;
  for (const auto& [name, tensor] : tensors) result.emplace(name, to_host(tensor.detach()));
  return result;
}

void copy_into(const NamedTensors& target, const TensorMap& source, const std::string& what) {
  for (const auto& [name, tensor] : target) {
    const auto found = source.find(name);
    if (found == source.end()) fail("{} has no {}", what, name);
    const Tensor& value = found->second;
    if (at::IntArrayRef(value.shape()) != tensor.sizes() ||
        scalar_type(value.dtype()) != tensor.scalar_type()) {
      fail("{}: {} is {} {} and does not fit", what, name, dtype_name(value.dtype()),
           shape_string(value.shape()));
    }
    tensor.detach().copy_(view_of(value));
  }
}

}  // namespace yoloquant::exec
