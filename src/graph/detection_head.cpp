#include "graph/detection_head.h"

namespace yoloquant::graph {
namespace {

// What the sigmoid reads whose scores end in the value: directly, or behind a concat with the boxes
// and the selection of the end-to-end head.
std::optional<ValueId> class_logits(const Graph& graph, ValueId output) {
  const std::vector<int> producers = graph.producers();
  std::vector<ValueId> open{output};
  while (!open.empty()) {
    const int producer = producers[open.back()];
    open.pop_back();
    if (producer < 0) continue;
    const Node& node = graph.nodes[producer];
    const auto* activation = std::get_if<Activation>(&node.op);
    if (activation != nullptr && activation->kind == ActivationKind::kSigmoid) {
      return node.inputs.at(0);
    }
    if (std::holds_alternative<Concat>(node.op) ||
        std::holds_alternative<SelectDetections>(node.op)) {
      open.insert(open.end(), node.inputs.begin(), node.inputs.end());
    }
  }
  return std::nullopt;
}

// What the softmax reads whose probabilities a conv with one output channel turns into distances.
std::optional<ValueId> box_logits(const Graph& graph, ValueId output) {
  const std::vector<int> producers = graph.producers();
  const std::vector<bool> behind = graph.nodes_behind({output});
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (!behind[i] || !std::holds_alternative<Conv>(node.op)) continue;
    const int producer = producers[node.inputs.at(0)];
    if (producer < 0 || graph.parameter(node.name + ".weight").dim(0) != 1) continue;
    const auto* softmax = std::get_if<Softmax>(&graph.nodes[producer].op);
    if (softmax != nullptr && softmax->axis == 1) return graph.nodes[producer].inputs.at(0);
  }
  return std::nullopt;
}

}  // namespace

std::optional<DetectionLogits> detection_logits(const Graph& graph, ValueId output) {
  const auto boxes = box_logits(graph, output);
  const auto classes = class_logits(graph, output);
  if (!boxes || !classes) return std::nullopt;
  const Shape& box = graph.values[*boxes].shape;
  const Shape& scores = graph.values[*classes].shape;
  const bool fits = box.size() == 4 && box[2] == 4 && scores.size() == 3 && box[3] == scores[2];
  if (!fits) return std::nullopt;
  return DetectionLogits{*boxes, *classes};
}

}  // namespace yoloquant::graph
