#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "tensor/tensor.h"

// safetensors files: 8 bytes of header size, a JSON header, then the bytes of all tensors.
// Format: github.com/huggingface/safetensors.
namespace yoloquant::checkpoint {

struct Safetensors {
  TensorMap tensors;
  std::map<std::string, std::string> metadata;  // the header's __metadata__
};

// Whether the bytes look like such a file.
bool is_safetensors(std::span<const std::byte> bytes);

// Throws Error naming the tensor when its record does not fit the file, or its type is none of
// DType's.
Safetensors read_safetensors(const std::filesystem::path& path);
// The same for a file in memory.
Safetensors read_safetensors_bytes(std::span<const std::byte> bytes);

void write_safetensors(const std::filesystem::path& path, const Safetensors& contents);

}  // namespace yoloquant::checkpoint
