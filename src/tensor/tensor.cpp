#include "tensor/tensor.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace yoloquant {

std::string shape_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim < 0) fail("negative dimension in shape {}", shape_string(shape));
    if (__builtin_mul_overflow(count, dim, &count)) {
      fail("shape {} is too large", shape_string(shape));
    }
  }
  return count;
}

namespace {

size_t byte_count(DType dtype, int64_t elements) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<size_t>(elements), element_size(dtype), &bytes)) {
    fail("tensor of {} elements is too large", elements);
  }
  return bytes;
}

}  // namespace

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype),
      shape_(std::move(shape)),
      size_(element_count(shape_)),
      data_(std::make_shared<std::vector<std::byte>>(byte_count(dtype, size_))) {}

Tensor::Tensor(DType dtype, Shape shape, std::span<const std::byte> bytes)
    : dtype_(dtype), shape_(std::move(shape)), size_(element_count(shape_)) {
  if (bytes.size() != byte_count(dtype, size_)) {
    fail("{} tensor of shape {} needs {} bytes, not {}", dtype_name(dtype), shape_string(shape_),
         byte_count(dtype, size_), bytes.size());
  }
  data_ = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
}

std::span<std::byte> Tensor::mutable_bytes() {
  if (data_.use_count() > 1) data_ = std::make_shared<std::vector<std::byte>>(*data_);
  return *data_;
}

void Tensor::check_type(DType wanted) const {
  if (wanted != dtype_) {
    fail("tensor holds {}, not {}", dtype_name(dtype_), dtype_name(wanted));
  }
}

std::span<const uint16_t> Tensor::half_bits() const {
  if (dtype_ != DType::kFloat16 && dtype_ != DType::kBFloat16) {
    fail("tensor holds {}, not float16 or bfloat16", dtype_name(dtype_));
  }
  return {reinterpret_cast<const uint16_t*>(data_->data()), static_cast<size_t>(size_)};
}

Tensor Tensor::reshaped(Shape shape) const {
  if (element_count(shape) != size_) {
    fail("cannot reshape {} to {}", shape_string(shape_), shape_string(shape));
  }
  Tensor result = *this;
  result.shape_ = std::move(shape);
  return result;
}

Tensor Tensor::to_float32() const {
  if (dtype_ == DType::kFloat32) return *this;
  Tensor result(DType::kFloat32, shape_);
  const std::span<float> out = result.mutable_data<float>();
  const auto convert = [&](auto values, auto function) {
    std::transform(values.begin(), values.end(), out.begin(), function);
  };
  const auto cast = [](auto value) { return static_cast<float>(value); };
  switch (dtype_) {
    case DType::kFloat32:
      break;
    case DType::kFloat16:
      convert(half_bits(), half_to_float);
      break;
    case DType::kBFloat16:
      convert(half_bits(), bfloat16_to_float);
      break;
    case DType::kFloat64:
      convert(data<double>(), cast);
      break;
    case DType::kInt8:
      convert(data<int8_t>(), cast);
      break;
    case DType::kUInt8:
      convert(data<uint8_t>(), cast);
      break;
    case DType::kInt16:
      convert(data<int16_t>(), cast);
      break;
    case DType::kInt32:
      convert(data<int32_t>(), cast);
      break;
    case DType::kInt64:
      convert(data<int64_t>(), cast);
      break;
    case DType::kBool:
      convert(data<bool>(), cast);
      break;
  }
  return result;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor source = to_float32();
  if (dtype == DType::kFloat32) return source;
  Tensor result(dtype, shape_);
  const std::span<const float> in = source.data<float>();
  if (dtype == DType::kFloat64) {
    std::copy(in.begin(), in.end(), result.mutable_data<double>().begin());
    return result;
  }
  if (dtype != DType::kFloat16 && dtype != DType::kBFloat16) {
    fail("cannot convert {} to {}", dtype_name(dtype_), dtype_name(dtype));
  }
  auto* out = reinterpret_cast<uint16_t*>(result.mutable_bytes().data());
  std::transform(in.begin(), in.end(), out,
                 dtype == DType::kFloat16 ? float_to_half : float_to_bfloat16);
  return result;
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::ranges::equal(a.bytes(), b.bytes());
}

}  // namespace yoloquant
