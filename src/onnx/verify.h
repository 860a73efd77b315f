#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "onnx/proto.h"

// Private to this layer.
namespace yoloquant::onnx {

struct Findings {
  std::vector<std::string> problems;
  std::vector<std::string> warnings;
};

// Structural verification of a model from an untrusted file; see check.h.
Findings verify(const pb::ModelProto& model, const std::filesystem::path& folder);

// Throws Error with the first problem.
void require_valid(const pb::ModelProto& model, const std::filesystem::path& folder);

// Problems of one QuantizeLinear or DequantizeLinear, as far as its operands are initializers.
std::string quantization_problem(const pb::NodeProto& node, int64_t opset,
                                 const std::map<std::string, const pb::TensorProto*>& initializers);

}  // namespace yoloquant::onnx
