#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "onnx/proto.h"
#include "tensor/tensor.h"

// Private to this layer: questions about and changes of an ONNX graph, nested graphs included.
namespace yoloquant::onnx {

using Renames = std::map<std::string, std::string>;  // old value name -> new one

// Calls `visit` with every value name that a node, or all nodes, read, also in graphs within nodes.
void for_each_use(const pb::NodeProto& node, const std::function<void(const std::string&)>& visit);
void for_each_use(const pb::GraphProto& graph,
                  const std::function<void(const std::string&)>& visit);

// Points uses of renamed values to their new names, following chains; graph outputs stay.
void rename_uses(pb::GraphProto& graph, const Renames& renames);

// Names that graphs within nodes read or make: values of theirs are left alone.
std::set<std::string> names_in_subgraphs(const pb::GraphProto& graph);

std::set<std::string> output_names(const pb::GraphProto& graph);

// Removes the nodes for which `drop` says so.
void erase_nodes(pb::GraphProto& graph, const std::function<bool(const pb::NodeProto&)>& drop);

// What the file declares about its values: fully known shapes, and element types.
struct Declared {
  std::map<std::string, Shape> shapes;
  std::map<std::string, int> types;
};
Declared declared_values(const pb::GraphProto& graph);

}  // namespace yoloquant::onnx
