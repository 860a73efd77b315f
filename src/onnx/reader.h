#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "graph/graph.h"

namespace yoloquant::onnx {

struct ReadOptions {
  // Takes the place of dynamic extents of the input, [N, 3, H, W]. Default: the file's metadata
  // (batch, imgsz), else 1 x 3 x 640 x 640.
  std::optional<Shape> input_shape;
};

// A float detector from an ONNX file as a graph: Sigmoid and Mul become SiLU again, size
// computations are done, float16 weights become float32, constants become Constant nodes. Convs are
// named by their weights ("model.0.conv.weight"), other nodes as in the file.
// Throws Error that names the node and its operator for what the graph cannot express, and for
// files that are quantized already.
graph::Graph read(const std::filesystem::path& path, const ReadOptions& options = {});
graph::Graph read_bytes(std::string_view model, const ReadOptions& options = {});

}  // namespace yoloquant::onnx
