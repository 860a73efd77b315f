#pragma once

#include <string>

#include "graph/operators.h"

namespace yoloquant::runtime {

// Runs a model of one operator on the CPU: what onnx::ReadOptions::compile is for. Throws Error
// when ONNX Runtime does not have the operator.
graph::Opaque::Function opaque_function(const std::string& model);

}  // namespace yoloquant::runtime
