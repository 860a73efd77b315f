#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "onnx/proto.h"

// Private to this layer: ONNX nodes that the graph carries without knowing what they do. Their form
// is the NodeProto with inputs and outputs numbered in the order of the graph node's ("0", "1"; ""
// for what is left out).
namespace yoloquant::onnx {

// The form of a node. Throws Error for what cannot be carried: graphs within the node.
std::string opaque_form(const pb::NodeProto& node);

// The node under other names. `inputs` and `outputs` are those that are not left out.
pb::NodeProto opaque_node(const graph::Opaque& opaque, const std::string& name,
                          const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs);

// A model of only this node, for inputs of these types and any shape.
std::string opaque_model(const graph::Opaque& opaque, const std::vector<DType>& input_types);

// The operator set to write a graph with: `wanted`, or the newer one that its opaque nodes come
// from. Throws Error that names a node whose operator has another form there.
int opaque_opset(const graph::Graph& graph, int wanted);

}  // namespace yoloquant::onnx
