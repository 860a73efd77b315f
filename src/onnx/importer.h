#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "onnx/proto.h"
#include "onnx/reader.h"

// Private to this layer.
namespace yoloquant::onnx {

// Builds a graph from an ONNX model, node by node. Operators have their rules in importers.cpp.
class Importer {
 public:
  Importer(const pb::ModelProto& model, const ReadOptions& options);

  graph::Graph run();

  // ---- for the rules
  const pb::NodeProto& node() const { return *node_; }
  int64_t opset() const { return opset_; }
  bool has_input(int i) const;
  const std::string& input_name(int i) const;
  graph::ValueId input(int i);                 // a value; constants become Constant nodes
  const Tensor& constant(int i) const;         // throws Error when the input is computed
  const Tensor* find_constant(int i) const;    // nullptr then
  std::vector<int64_t> integers(int i) const;  // a constant of integers
  Shape input_shape(int i);                    // inferred
  int64_t attribute(std::string_view name, int64_t otherwise) const;
  float attribute(std::string_view name, float otherwise) const;
  std::string text(std::string_view name, const std::string& otherwise) const;
  std::vector<int64_t> integers(std::string_view name, std::vector<int64_t> otherwise) const;

  // Adds an operator that makes the current node's outputs. Parameters are NODE.PART.
  void emit(graph::Operator op, const std::vector<graph::ValueId>& inputs,
            const std::map<std::string, Tensor>& parameters = {}, const std::string& name = "");
  void alias(graph::ValueId value);  // the node's output is that value
  // Remembers that the node's output is HardSigmoid(value), which only a product may use.
  void mark_hard_gate(graph::ValueId value);
  std::optional<graph::ValueId> hard_gate(int i) const;

 private:
  void import_inputs();
  void import_node();
  bool fold();
  void import_outputs();
  std::string unique_node_name(const std::string& wanted);
  std::string unique_value_name(const std::string& wanted);

  const pb::ModelProto& model_;
  const ReadOptions& options_;
  const pb::NodeProto* node_ = nullptr;
  int64_t opset_;
  graph::Graph graph_;
  std::map<std::string, graph::ValueId> values_;
  std::map<std::string, Tensor> constants_;
  std::map<std::string, graph::ValueId> hard_gates_;
  std::set<std::string> node_names_;
  std::set<std::string> value_names_;
};

using ImportRule = void (*)(Importer&);
// The rule for an operator of ONNX's own domain; nullptr when there is none.
ImportRule find_rule(const std::string& op);

}  // namespace yoloquant::onnx
