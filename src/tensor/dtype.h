#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace yoloquant {

enum class DType : uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kInt8,
  kUInt8,
  kInt16,
  kInt32,
  kInt64,
  kBool,
};

// Bytes of one element.
size_t element_size(DType dtype);
// "float32", "int8", ... as PyTorch and NumPy write it.
std::string_view dtype_name(DType dtype);
bool is_floating_point(DType dtype);

// IEEE binary16 and bfloat16 bits to and from float32; rounding to nearest, ties to even.
float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
inline float bfloat16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
uint16_t float_to_bfloat16(float value);

}  // namespace yoloquant
