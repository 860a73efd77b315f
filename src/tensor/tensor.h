#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tensor/dtype.h"

namespace yoloquant {

using Shape = std::vector<int64_t>;

// "[1, 3, 640, 640]"
std::string shape_string(const Shape& shape);

// Product of the dimensions. Throws Error for negative dimensions and on overflow of int64.
int64_t element_count(const Shape& shape);

template <typename T>
constexpr DType dtype_of();

// A dense, row-major tensor in host memory. Copies share the bytes; mutable access makes them
// private first (copy on write), so a Tensor behaves as a value.
class Tensor {
 public:
  Tensor() : Tensor(DType::kFloat32, {0}) {}
  // Zero-filled.
  Tensor(DType dtype, Shape shape);
  // Owns a copy of `bytes`. REQUIRES: bytes.size() is the tensor's size; throws Error otherwise.
  Tensor(DType dtype, Shape shape, std::span<const std::byte> bytes);

  template <typename T>
  static Tensor from(Shape shape, std::span<const T> values) {
    return Tensor(dtype_of<T>(), std::move(shape), std::as_bytes(values));
  }
  template <typename T>
  static Tensor from(Shape shape, const std::vector<T>& values) {
    return from(std::move(shape), std::span<const T>(values));
  }
  static Tensor scalar(float value) { return from<float>({}, std::span<const float>(&value, 1)); }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(size_t axis) const { return shape_.at(axis); }
  size_t rank() const { return shape_.size(); }
  int64_t size() const { return size_; }

  std::span<const std::byte> bytes() const { return *data_; }
  std::span<std::byte> mutable_bytes();

  // Elements as T. Throws Error when T is not the tensor's type.
  template <typename T>
  std::span<const T> data() const {
    check_type(dtype_of<T>());
    return {reinterpret_cast<const T*>(data_->data()), static_cast<size_t>(size_)};
  }
  template <typename T>
  std::span<T> mutable_data() {
    check_type(dtype_of<T>());
    return {reinterpret_cast<T*>(mutable_bytes().data()), static_cast<size_t>(size_)};
  }
  // Raw 16-bit patterns of a float16 or bfloat16 tensor.
  std::span<const uint16_t> half_bits() const;

  // Same elements, other shape. Throws Error when the element counts differ.
  Tensor reshaped(Shape shape) const;

  // Elements converted to float32 (a no-op for float32).
  Tensor to_float32() const;
  // Elements converted from float32 to `dtype` (float types), rounding to nearest even.
  Tensor to(DType dtype) const;

 private:
  void check_type(DType wanted) const;

  DType dtype_;
  Shape shape_;
  int64_t size_ = 0;
  std::shared_ptr<std::vector<std::byte>> data_;
};

// Same dtype, shape and bytes.
bool equal(const Tensor& a, const Tensor& b);

using TensorMap = std::map<std::string, Tensor>;

template <>
constexpr DType dtype_of<float>() {
  return DType::kFloat32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::kFloat64;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::kInt8;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::kUInt8;
}
template <>
constexpr DType dtype_of<int16_t>() {
  return DType::kInt16;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::kInt32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::kInt64;
}
template <>
constexpr DType dtype_of<bool>() {
  return DType::kBool;
}

}  // namespace yoloquant
