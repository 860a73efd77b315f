#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace yoloquant::onnx {

struct CleanReport {
  int64_t nodes_before = 0;
  int64_t nodes_after = 0;
  int64_t initializers_before = 0;
  int64_t initializers_after = 0;
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
  std::map<std::string, int64_t> removed;  // operator -> nodes that are gone
};

// Simplifies any ONNX file without changing what it computes: removes Identity and inference
// Dropout, Reshape, Transpose and Cast that do nothing or cancel, computes small constants (shapes
// and indices), drops nodes and initializers that nothing needs, stores equal initializers once and
// as raw_data, and takes initializers off the list of inputs. QuantizeLinear, DequantizeLinear and
// Clip nodes stay, all of them, and nothing is computed through them. External data is put into the
// file. Throws Error for an invalid file; runtime::diff proves that outputs are equal.
CleanReport clean(const std::filesystem::path& in, const std::filesystem::path& out);
std::string clean_bytes(std::string_view model, CleanReport* report = nullptr);

}  // namespace yoloquant::onnx
