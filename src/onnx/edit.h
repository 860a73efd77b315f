#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace yoloquant::onnx {

// Where a value of a model comes from.
struct NodeOutput {
  std::string value;
  std::string node;
  std::string op;
};

// All node outputs of a model in execution order, subgraphs excluded. Throws Error when the bytes
// are no ONNX model.
std::vector<NodeOutput> node_outputs(std::string_view model);

// The model with the named values as its only outputs, for looking inside it. Their types are left
// for the runtime to infer. Throws Error for a value that no node makes.
std::string with_outputs(std::string_view model, const std::vector<std::string>& values);

}  // namespace yoloquant::onnx
