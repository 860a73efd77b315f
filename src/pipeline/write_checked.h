#pragma once

#include <filesystem>

#include "graph/graph.h"
#include "onnx/check.h"
#include "onnx/writer.h"

// Internal to the layer.
namespace yoloquant::pipeline {

// Writes an ONNX file and checks it. Throws Error with the first problem.
onnx::CheckReport write_checked(const graph::Graph& graph, const std::filesystem::path& path,
                                const onnx::WriteOptions& options);

}  // namespace yoloquant::pipeline
