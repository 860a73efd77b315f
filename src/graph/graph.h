#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/operators.h"
#include "graph/quantizer.h"
#include "tensor/tensor.h"

namespace yoloquant::graph {

using ValueId = int32_t;  // index into Graph::values

// What flows along an edge.
struct Value {
  std::string name;  // unique in the graph
  DType dtype = DType::kFloat32;
  Shape shape;  // both are set by infer_shapes
};

// Named by Ultralytics module path ("model.22.m.0.cv1.2.conv"), unique in the graph.
struct Node {
  std::string name;
  Operator op;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
};

// What Ultralytics writes into an ONNX file's metadata.
struct Metadata {
  std::map<int, std::string> names;  // class id -> name
  std::vector<int64_t> strides;      // pixels per cell of each feature level
  std::string description;           // such as "YOLOv10n"
  std::string task = "detect";
  std::string head;  // name of the head that a graph was reduced to (head_name); "" when not known
};

// The one truth about a model. What runs, is rewritten, quantized and exported is this.
// Invariants (see `check`): nodes are in topological order, each value has one producer or is an
// input or unused, names are unique, parameters that operators need exist.
struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  TensorMap parameters;                                  // "NODE.weight" -> float32 tensor
  std::map<std::string, ConvQuantization> quantization;  // conv node name -> annotation
  // Value name -> quantizer for the whole tensor: readers of the value get it quantized and
  // dequantized. Beside, not instead of, what convs do with their own input.
  std::map<std::string, Quantizer> value_quantization;
  Metadata metadata;

  ValueId add_value(std::string name);
  // Appends a node with one output, a value of the node's own name; returns that value.
  ValueId add_node(std::string name, Operator op, std::vector<ValueId> inputs);
  // Appends a node with `output_count` outputs named NAME:0, NAME:1, ...
  std::vector<ValueId> add_node(std::string name, Operator op, std::vector<ValueId> inputs,
                                size_t output_count);

  const Node* find_node(std::string_view name) const;      // nullptr when there is none
  const Tensor& parameter(const std::string& name) const;  // throws Error when there is none
  // For each value: index of the node that makes it (-1: none), and of the nodes that read it.
  std::vector<int> producers() const;
  std::vector<std::vector<int>> consumers() const;
  // For each node: whether one of `wanted` depends on it.
  std::vector<bool> nodes_behind(const std::vector<ValueId>& wanted) const;
};

// Names of all nodes that hold a Conv, in execution order.
std::vector<std::string> conv_names(const Graph& graph);

// Throws Error that names the offending node when an invariant does not hold.
void check(const Graph& graph);

// Sets every value's shape and type from the inputs' shapes, or only those of the nodes from
// `first_node` on. Throws Error that names the node when an operator cannot take its inputs.
void infer_shapes(Graph& graph, size_t first_node = 0);
// Gives the (only) input another shape [N, 3, H, W] and infers the rest. H and W must be multiples
// of the largest stride.
void set_input_shape(Graph& graph, const Shape& shape);

}  // namespace yoloquant::graph
