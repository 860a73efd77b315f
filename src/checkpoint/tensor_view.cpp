#include "checkpoint/tensor_view.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace yoloquant::checkpoint {

namespace {

// Index of the last element that the window touches. REQUIRES: no dimension is zero.
int64_t last_element(int64_t offset, const Shape& shape, const Shape& strides) {
  int64_t last = offset;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    int64_t step = 0;
    if (__builtin_mul_overflow(shape[axis] - 1, strides[axis], &step) ||
        __builtin_add_overflow(last, step, &last)) {
      fail("tensor of shape {} and strides {} is too large", shape_string(shape),
           shape_string(strides));
    }
  }
  return last;
}

// Copies a strided window, in row-major order of its indices.
template <size_t kSize>
void gather(const std::byte* source, std::byte* target, const Shape& shape, const Shape& strides) {
  const size_t inner_axis = shape.size() - 1;
  const int64_t inner = shape[inner_axis];
  const int64_t inner_stride = strides[inner_axis];
  Shape index(shape.size(), 0);
  int64_t position = 0;
  while (true) {
    for (int64_t i = 0; i < inner; ++i, target += kSize) {
      std::memcpy(target, source + (position + i * inner_stride) * static_cast<int64_t>(kSize),
                  kSize);
    }
    size_t axis = inner_axis;
    while (axis > 0) {
      --axis;
      position += strides[axis];
      if (++index[axis] < shape[axis]) break;
      position -= strides[axis] * shape[axis];
      index[axis] = 0;
      if (axis == 0) return;
    }
    if (inner_axis == 0) return;
  }
}

}  // namespace

TensorView::TensorView(Tensor tensor)
    : dtype_(tensor.dtype()),
      shape_(tensor.shape()),
      byte_count_(tensor.bytes().size()),
      tensor_(std::move(tensor)) {}

TensorView::TensorView(std::shared_ptr<const Storage> storage, DType dtype, int64_t offset,
                       Shape shape, Shape strides)
    : dtype_(dtype),
      shape_(std::move(shape)),
      storage_(std::move(storage)),
      offset_(offset),
      strides_(std::move(strides)) {
  if (shape_.size() != strides_.size()) {
    fail("tensor has {} dimensions but {} strides", shape_.size(), strides_.size());
  }
  if (offset_ < 0 || std::ranges::any_of(strides_, [](int64_t stride) { return stride < 0; })) {
    fail("tensor has a negative offset or stride");
  }
  const int64_t elements = element_count(shape_);
  const size_t width = element_size(dtype_);
  if (__builtin_mul_overflow(static_cast<size_t>(elements), width, &byte_count_)) {
    fail("tensor of shape {} is too large", shape_string(shape_));
  }
  const auto available = static_cast<int64_t>(storage_->bytes.size() / width);
  if (elements == 0) {
    if (offset_ > available) offset_ = 0;
    return;
  }
  if (last_element(offset_, shape_, strides_) >= available) {
    fail("tensor of shape {} at offset {} reaches outside of storage {}, which holds {} elements",
         shape_string(shape_), offset_, storage_->key, available);
  }
}

bool TensorView::is_contiguous() const {
  int64_t expected = 1;
  for (size_t axis = shape_.size(); axis-- > 0;) {
    if (shape_[axis] != 1 && strides_[axis] != expected) return false;
    expected *= shape_[axis];
  }
  return true;
}

Tensor TensorView::load() const {
  if (tensor_) return *tensor_;
  if (byte_count_ == 0) return Tensor(dtype_, shape_);
  const size_t width = element_size(dtype_);
  const std::byte* source = storage_->bytes.data() + static_cast<size_t>(offset_) * width;
  Tensor result = [&] {
    if (is_contiguous()) return Tensor(dtype_, shape_, {source, byte_count_});
    Tensor gathered(dtype_, shape_);
    std::byte* target = gathered.mutable_bytes().data();
    switch (width) {
      case 1:
        gather<1>(source, target, shape_, strides_);
        break;
      case 2:
        gather<2>(source, target, shape_, strides_);
        break;
      case 4:
        gather<4>(source, target, shape_, strides_);
        break;
      default:
        gather<8>(source, target, shape_, strides_);
    }
    return gathered;
  }();
  if (dtype_ == DType::kBool) {  // other bytes than 0 and 1 are no bool of C++
    for (std::byte& byte : result.mutable_bytes()) byte = std::byte(byte != std::byte{0});
  }
  return result;
}

}  // namespace yoloquant::checkpoint
