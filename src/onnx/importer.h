#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "graph/graph.h"
#include "onnx/graph_edit.h"
#include "onnx/proto.h"
#include "onnx/reader.h"

// Private to this layer.
namespace yoloquant::onnx {

// A rule throws it for a variant of its operator that the graph does not have: the node then stays
// as it is.
class Unsupported : public Error {
 public:
  using Error::Error;
};
inline void require(bool condition, const std::string& what) {
  if (!condition) throw Unsupported(what + " is not supported");
}

// Builds a graph from an ONNX model, node by node. Operators have their rules in import_*.cpp.
class Importer {
 public:
  Importer(const pb::ModelProto& model, const ReadOptions& options, ReadReport& report);

  graph::Graph run();

  // ---- for the rules
  const pb::NodeProto& node() const { return *node_; }
  int64_t opset() const { return opset_; }
  bool has_input(int i) const;
  const std::string& input_name(int i) const;
  graph::ValueId input(int i);                 // a value; constants become Constant nodes
  const Tensor& constant(int i) const;         // throws Unsupported when the input is computed
  const Tensor* find_constant(int i) const;    // nullptr then
  std::vector<int64_t> integers(int i) const;  // a constant of integers
  Shape input_shape(int i);
  DType input_type(int i);  // of float constants: as in the file
  int64_t attribute(std::string_view name, int64_t otherwise) const;
  float attribute(std::string_view name, float otherwise) const;
  std::string text(std::string_view name, const std::string& otherwise) const;
  std::vector<int64_t> integers(std::string_view name, std::vector<int64_t> otherwise) const;

  // Adds an operator that makes the current node's outputs. Parameters are NODE.PART.
  void emit(graph::Operator op, const std::vector<graph::ValueId>& inputs,
            const std::map<std::string, Tensor>& parameters = {}, const std::string& name = "");
  void alias(graph::ValueId value);  // the node's output is that value

 private:
  void import_inputs();
  void import_node();
  bool fold();
  bool fold_by_running(const std::vector<const Tensor*>& inputs);
  void import_opaque(const std::string& reason);
  graph::Opaque opaque_of(const pb::NodeProto& node) const;
  void find_outputs(graph::Opaque& opaque, const std::vector<graph::ValueId>& inputs,
                    const std::string& reason) const;
  void import_outputs();
  std::string unique_node_name(const std::string& wanted);
  std::string unique_value_name(const std::string& wanted);

  const pb::ModelProto& model_;
  const ReadOptions& options_;
  ReadReport& report_;
  Declared declared_;
  const pb::NodeProto* node_ = nullptr;
  int64_t opset_;
  graph::Graph graph_;
  std::map<std::string, graph::ValueId> values_;
  std::map<std::string, Tensor> constants_;
  std::set<std::string> node_names_;
  std::set<std::string> value_names_;
};

// Products of x and Sigmoid(x) or HardSigmoid(x), nothing else using the gate, as SiLU and
// HardSwish.
void fuse_gates(graph::Graph& graph);
// "model.0.conv" from a conv's weight ("model.0.conv.weight") or node ("/model.0/conv/Conv"); ""
// when neither says.
std::string module_path(const std::string& weight, const std::string& node);

using ImportRule = void (*)(Importer&);
// The rule for an operator of ONNX's own domain; nullptr when there is none.
ImportRule find_rule(const std::string& op);
ImportRule find_index_rule(const std::string& op);  // those that move and pick elements

}  // namespace yoloquant::onnx
