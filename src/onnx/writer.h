#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace yoloquant::onnx {

enum class Precision : uint8_t { kFloat32, kFloat16 };
Precision parse_precision(std::string_view name);  // "fp32", "fp16"; Error (usage)
std::string_view precision_name(Precision precision);

// How quantized convs are written.
enum class Layout : uint8_t {
  // int8 codes -> Clip(qmin, qmax) -> DequantizeLinear -> Conv, and QuantizeLinear ->
  // DequantizeLinear on the conv's input when that is quantized. 4-bit codes are stored as int8.
  kQcdq,
  // Codes of at most 4 bits are INT4 or UINT4 initializers, two in a byte, others int8; no Clip on
  // weights, whose codes are constants within their range. Inputs as in kQcdq.
  kInt4,
  // For integer kernels: int8 codes -> DequantizeLinear -> Conv, no Clip on weights, and a Softmax
  // over an inner axis written as its parts. REQUIRES: activations quantized by value
  // (Graph::value_quantization), as quant::integer_graph makes them.
  kDeploy,
};
Layout parse_layout(std::string_view name);  // "qcdq", "int4", "deploy"; Error (usage)
std::string_view layout_name(Layout layout);
// The first operator set that has what the layout uses: 13; 21 for kInt4.
int least_opset(Layout layout);

struct WriteOptions {
  // kFloat16: weights and features are float16; inputs, outputs and box decoding (pixel coordinates
  // need more than float16's 11 bits) stay float32.
  Precision precision = Precision::kFloat32;
  int opset = 13;        // least_opset(layout)..21; opaque nodes may ask for a newer one
  bool dynamic = false;  // batch, height and width symbolic; the file then runs at any legal size
  Layout layout = Layout::kQcdq;
};

constexpr int kMinOpset = 13;
constexpr int kMaxOpset = 21;

// The graph as the bytes of an ONNX file. REQUIRES: what for_inference returns (or any graph with
// inferred shapes). Inputs and outputs are float32 and carry the names of the graph's values;
// nodes and weights are named by module path ("model.0.conv", "model.0.conv.weight"). Metadata is
// what Ultralytics writes: description, stride, task, batch, imgsz, names.
// Throws Error when an option is out of range, when a weight does not fit float16, or when the
// graph cannot be dynamic because a size is fixed in it.
std::string serialize(const graph::Graph& graph, const WriteOptions& options = {});

// The same into a file, atomically.
void write(const graph::Graph& graph, const std::filesystem::path& path,
           const WriteOptions& options = {});

}  // namespace yoloquant::onnx
