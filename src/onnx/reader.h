#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace yoloquant::onnx {

struct ReadOptions {
  // Takes the place of dynamic extents of the input, [N, 3, H, W]. Default: the file's metadata
  // (batch, imgsz), else 1 x 3 x 640 x 640.
  std::optional<Shape> input_shape = std::nullopt;
  // Makes a model of one node runnable (runtime::opaque_function). With it opaque nodes can be run,
  // the shapes of what they make are found out, and those of constants alone are computed. Without,
  // the file must declare the shapes.
  std::function<graph::Opaque::Function(const std::string& model)> compile = nullptr;
};

// What a user should know about an imported model.
struct ReadReport {
  bool input_was_dynamic = false;         // and was given a size
  std::map<std::string, int64_t> opaque;  // operators kept as they are -> nodes
};

// A float detector from an ONNX file (opset 11 or newer) as a graph: Sigmoid and Mul become SiLU
// again, size computations are done, float16 and float64 become float32, constants become Constant
// nodes, and operators that the graph does not have become Opaque nodes. Convs are named by their
// weights ("model.0.conv.weight") or nodes ("/model.0/conv/Conv"), other nodes as in the file.
// Throws Error that names the node and its operator for what the graph cannot hold (graphs within
// nodes, strings, sizes that depend on the data), and for files that are quantized already.
graph::Graph read(const std::filesystem::path& path, const ReadOptions& options = {},
                  ReadReport* report = nullptr);
graph::Graph read_bytes(std::string_view model, const ReadOptions& options = {},
                        ReadReport* report = nullptr);

}  // namespace yoloquant::onnx
