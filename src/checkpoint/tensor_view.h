#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tensor/tensor.h"

namespace yoloquant::checkpoint {

// The bytes behind one or several tensors of a file, and what keeps them alive.
struct Storage {
  std::string key;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
  std::optional<DType> dtype;  // not known for an untyped storage
};

// A tensor in memory, or a strided window of a storage that is read when asked for.
class TensorView {
 public:
  explicit TensorView(Tensor tensor);
  // `offset` and `strides` count elements. Throws Error unless every element lies in the storage.
  TensorView(std::shared_ptr<const Storage> storage, DType dtype, int64_t offset, Shape shape,
             Shape strides);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  bool is_loaded() const { return storage_ == nullptr; }
  // Bytes that load() makes.
  size_t byte_count() const { return byte_count_; }

  // The elements, contiguous.
  Tensor load() const;

 private:
  bool is_contiguous() const;

  DType dtype_;
  Shape shape_;
  size_t byte_count_ = 0;
  std::optional<Tensor> tensor_;
  std::shared_ptr<const Storage> storage_;
  int64_t offset_ = 0;
  Shape strides_;
};

}  // namespace yoloquant::checkpoint
