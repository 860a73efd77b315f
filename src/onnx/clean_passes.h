#pragma once

#include "onnx/proto.h"

// Private to this layer: the passes of `clean`. Each keeps what the graph computes and says whether
// it changed anything.
namespace yoloquant::onnx {

// Constant nodes become initializers.
bool store_constants(pb::GraphProto& graph);
// Small nodes with constant operands, and Shape of values with known shapes, become initializers.
bool fold_constants(pb::GraphProto& graph);
// Two Transposes or Casts in a row become one; the first Reshape of two is skipped.
bool merge_chains(pb::GraphProto& graph);
// Nodes whose output is their input are bypassed.
bool bypass_no_ops(pb::GraphProto& graph);
// Nodes and initializers that no output depends on; QuantizeLinear, DequantizeLinear and Clip (and
// what they need) stay.
bool remove_dead(pb::GraphProto& graph);
// Equal initializers are stored once.
bool share_initializers(pb::GraphProto& graph);
// Typed data fields become raw_data.
void use_raw_data(pb::GraphProto& graph);
// Initializers are taken off the list of graph inputs.
void drop_initializer_inputs(pb::ModelProto& model);

}  // namespace yoloquant::onnx
