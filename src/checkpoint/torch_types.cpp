#include "checkpoint/torch_types.h"

#include <algorithm>
#include <array>

namespace yoloquant::checkpoint {

namespace {

struct TorchType {
  DType dtype;
  std::string_view storage;
  std::string_view short_name;
};

constexpr std::array<TorchType, 10> kTypes = {{
    {DType::kFloat32, "FloatStorage", "float"},
    {DType::kFloat16, "HalfStorage", "half"},
    {DType::kBFloat16, "BFloat16Storage", "bfloat16"},
    {DType::kFloat64, "DoubleStorage", "double"},
    {DType::kInt8, "CharStorage", "int8"},
    {DType::kUInt8, "ByteStorage", "uint8"},
    {DType::kInt16, "ShortStorage", "short"},
    {DType::kInt32, "IntStorage", "int"},
    {DType::kInt64, "LongStorage", "long"},
    {DType::kBool, "BoolStorage", "bool"},
}};

template <typename Predicate>
std::optional<DType> find_type(Predicate matches) {
  const auto* found = std::ranges::find_if(kTypes, matches);
  if (found == kTypes.end()) return std::nullopt;
  return found->dtype;
}

}  // namespace

std::string_view torch_storage_name(DType dtype) {
  return std::ranges::find(kTypes, dtype, &TorchType::dtype)->storage;
}

std::optional<DType> dtype_of_torch_storage(std::string_view name) {
  return find_type([&](const TorchType& type) { return type.storage == name; });
}

std::optional<DType> dtype_of_torch_dtype(std::string_view name) {
  return find_type([&](const TorchType& type) {
    return type.short_name == name || dtype_name(type.dtype) == name;
  });
}

}  // namespace yoloquant::checkpoint
