#pragma once

#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace yoloquant::checkpoint {

// "HalfStorage" <-> float16, and "float16" or "half" -> float16, as in the module torch. nullopt
// for types that the project does not hold (complex, quantized, ...).
std::string_view torch_storage_name(DType dtype);
std::optional<DType> dtype_of_torch_storage(std::string_view name);
std::optional<DType> dtype_of_torch_dtype(std::string_view name);

}  // namespace yoloquant::checkpoint
