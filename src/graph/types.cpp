#include "graph/types.h"

#include "base/error.h"

namespace yoloquant::graph {

namespace {

using Types = std::vector<DType>;

bool is_index(DType dtype) { return dtype == DType::kInt64 || dtype == DType::kInt32; }

struct TypeRule {
  const Graph& graph;
  const Node& node;
  const Types& in;

  // As many times the first input's type as there are outputs.
  Types like_input() const { return Types(node.outputs.size(), in.at(0)); }
  Types same() const {
    for (const DType dtype : in) {
      if (dtype != in[0]) fail("takes {} and {} at once", dtype_name(in[0]), dtype_name(dtype));
    }
    return like_input();
  }
  Types floats() const {
    for (const DType dtype : in) {
      if (dtype != DType::kFloat32) fail("takes float32, not {}", dtype_name(dtype));
    }
    return Types(node.outputs.size(), DType::kFloat32);
  }

  Types operator()(const Elementwise&) const { return same(); }
  Types operator()(const Concat&) const { return same(); }
  Types operator()(const Split&) const { return like_input(); }
  Types operator()(const Reshape&) const { return like_input(); }
  Types operator()(const Transpose&) const { return like_input(); }
  Types operator()(const Slice&) const { return like_input(); }
  Types operator()(const Reduce&) const { return like_input(); }
  Types operator()(const Expand&) const { return like_input(); }
  Types operator()(const Tile&) const { return like_input(); }
  Types operator()(const Constant&) const {
    return {graph.parameter(node.name + ".value").dtype()};
  }
  Types operator()(const Gather&) const {
    if (!is_index(in.at(1))) fail("indices are {}", dtype_name(in[1]));
    return {in[0]};
  }
  Types operator()(const TopK&) const { return {in.at(0), DType::kInt64}; }
  Types operator()(const Cast& op) const { return {op.dtype}; }
  Types operator()(const Opaque& op) const {
    Types result;
    for (const auto& output : op.outputs) result.push_back(output.first);
    return result;
  }
  Types operator()(const AnchorGrid&) const { return {DType::kFloat32, DType::kFloat32}; }
  Types operator()(const auto&) const { return floats(); }
};

}  // namespace

std::vector<DType> output_types(const Graph& graph, const Node& node) {
  Types in;
  for (const ValueId input : node.inputs) in.push_back(graph.values[input].dtype);
  return std::visit(TypeRule{graph, node, in}, node.op);
}

}  // namespace yoloquant::graph
