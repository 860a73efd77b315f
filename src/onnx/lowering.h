#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "onnx/model_builder.h"
#include "onnx/writer.h"

// Private to this layer.
namespace yoloquant::onnx {

// Turns the nodes of a graph into ONNX nodes. Under float16 a value is half unless it hangs on an
// anchor grid: pixel coordinates need more than half's 11 bits, so box decoding stays float32, and
// whatever meets a float32 value is computed in float32 too.
class Lowering {
 public:
  Lowering(const graph::Graph& graph, const WriteOptions& options, ModelBuilder& builder);

  void run();

  // What became of a value: its ONNX name and type. Constants have no type of their own.
  struct Emitted {
    std::string name;
    std::string quantized;  // what readers get where the value is quantized; else ""
    DType dtype = DType::kFloat32;
    const Tensor* constant = nullptr;
    std::map<DType, std::string> as;  // the value in other types
  };
  const Emitted& emitted(graph::ValueId id) const { return emitted_[id]; }

 private:
  struct Rules;  // one overload an operator

  DType work_type(const graph::Node& node) const;
  bool is_output(graph::ValueId id) const;
  bool is_float(graph::ValueId id) const;
  // ONNX name of a value, a float one in the wanted type; makes a Cast where needed.
  std::string use(graph::ValueId id, DType wanted);
  void quantize_value(graph::ValueId id);
  void lower_inputs();
  void lower(const graph::Node& node);
  void lower_outputs();

  const graph::Graph& graph_;
  const WriteOptions& options_;
  ModelBuilder& builder_;
  std::vector<Emitted> emitted_;
};

// What an operator's lowering needs: where it is, its type, its inputs and how to name its results.
struct LoweringContext {
  const graph::Graph& graph;
  const graph::Node& node;
  ModelBuilder& builder;
  DType dtype;                       // of the node's float inputs and outputs
  bool dynamic;                      // sizes are not known: compute them in the file
  Layout layout;                     // of quantized convs
  std::vector<std::string> inputs;   // ONNX names; floats are in `dtype`
  std::vector<std::string> outputs;  // reserved ONNX names

  const Shape& input_shape(size_t i) const { return graph.values[node.inputs[i]].shape; }
  const Shape& output_shape(size_t i) const { return graph.values[node.outputs[i]].shape; }

  // The node itself, under its own name; it makes all of the node's outputs.
  void emit(const std::string& op, const std::vector<std::string>& in,
            const Attributes& attributes = {}) const;
  // A helper node named NODE/SUFFIX; returns its output.
  std::string aux(const std::string& op, const std::string& suffix,
                  const std::vector<std::string>& in, const Attributes& attributes = {}) const;
  // A parameter of the node ("weight") in the node's type, as an initializer NODE.PART.
  std::string parameter(const std::string& part) const;
};

// A parameter in another type. Throws Error when a finite value does not fit float16.
Tensor convert(const Tensor& tensor, DType dtype, const std::string& name);

void lower_conv(const LoweringContext& context, const graph::Conv& conv);
void lower_softmax(const LoweringContext& context, const graph::Softmax& softmax);
void lower_reshape(const LoweringContext& context, const graph::Reshape& reshape);
void lower_anchor_grid(const LoweringContext& context, const graph::AnchorGrid& grid);
void lower_slice(const LoweringContext& context, const graph::Slice& slice);
void lower_reduce(const LoweringContext& context, const graph::Reduce& reduce);
void lower_opaque(const LoweringContext& context, const graph::Opaque& opaque);
void lower_select(const LoweringContext& context, const graph::SelectDetections& select);

}  // namespace yoloquant::onnx
