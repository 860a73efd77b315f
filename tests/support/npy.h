#pragma once

#include <filesystem>

#include "tensor/tensor.h"

namespace yoloquant::test {

// A little-endian float32 .npy file in row-major order (the golden outputs).
Tensor read_npy(const std::filesystem::path& path);

// max |a - b| / max |b|. Throws when the shapes differ.
double relative_error(const Tensor& a, const Tensor& b);

}  // namespace yoloquant::test
