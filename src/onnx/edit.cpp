#include "onnx/edit.h"

#include <set>

#include "base/error.h"
#include "onnx/model_file.h"

namespace yoloquant::onnx {

std::vector<NodeOutput> node_outputs(std::string_view model) {
  const pb::ModelProto proto = parse_model(model);
  std::vector<NodeOutput> result;
  for (const auto& node : proto.graph().node()) {
    for (const auto& output : node.output()) {
      if (!output.empty()) result.push_back({output, node.name(), node.op_type()});
    }
  }
  return result;
}

std::string with_outputs(std::string_view model, const std::vector<std::string>& values) {
  pb::ModelProto proto = parse_model(model);
  pb::GraphProto& graph = *proto.mutable_graph();
  std::set<std::string> made;
  for (const auto& node : graph.node()) made.insert(node.output().begin(), node.output().end());
  graph.clear_output();
  for (const auto& value : values) {
    if (!made.contains(value)) fail("no node makes value '{}'", value);
    graph.add_output()->set_name(value);
  }
  return serialize_model(proto);
}

}  // namespace yoloquant::onnx
