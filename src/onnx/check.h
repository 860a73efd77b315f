#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace yoloquant::onnx {

// One extent of a declared shape: a size, a symbol ("batch"), or neither when it is not known.
struct Dimension {
  std::optional<int64_t> size;
  std::string symbol;
};

struct ValueDescription {
  std::string name;
  std::string dtype;  // "float32", ...; "" when it is not declared
  std::vector<Dimension> shape;
  bool has_shape = false;
};

// What an ONNX file holds.
struct CheckReport {
  std::map<std::string, int64_t> op_counts;  // subgraphs included; "domain::Op" outside ai.onnx
  std::vector<ValueDescription> inputs;      // all graph inputs, initializers among them included
  std::vector<ValueDescription> outputs;
  int64_t opset = 0;
  int64_t ir_version = 0;
  std::string producer;
  int64_t file_bytes = 0;
  int64_t node_count = 0;
  int64_t initializer_count = 0;
  std::map<std::string, int64_t> initializer_bytes;  // by type, external ones included
  std::map<std::string, std::string> metadata;
  std::vector<std::string> problems;  // what makes the file invalid; at most kMaxFindings
  std::vector<std::string> warnings;  // what is legal and yet poor: initializers listed as inputs

  static constexpr size_t kMaxFindings = 50;
  bool ok() const { return problems.empty(); }
};

// Reads the file and verifies its structure: names are unique, values are defined before they are
// used (so no cycles), tensors have as many bytes as their shapes need, QuantizeLinear and
// DequantizeLinear have scales, zero points and axes that the opset allows, external data stays in
// the file's folder. Throws Error when the file is no ONNX model at all.
CheckReport check(const std::filesystem::path& path);
// The same for a file in memory; external data is looked for in `folder`.
CheckReport check_bytes(std::string_view bytes, const std::filesystem::path& folder = {});

// Keys op_counts, inputs, outputs, opset, ir_version, producer, file_bytes, nodes, initializers,
// metadata, problems, warnings.
nlohmann::json to_json(const CheckReport& report);

}  // namespace yoloquant::onnx
