#include <algorithm>
#include <set>

#include "onnx/importer.h"

namespace yoloquant::onnx {

namespace {

using graph::ActivationKind;
using graph::ValueId;

// The gate's kind when `node` is one of `x`.
std::optional<ActivationKind> gate_of(const graph::Node& node, ValueId x) {
  const auto* activation = std::get_if<graph::Activation>(&node.op);
  if (activation == nullptr || node.inputs[0] != x) return std::nullopt;
  if (activation->kind == ActivationKind::kSigmoid) return ActivationKind::kSilu;
  if (activation->kind == ActivationKind::kHardSigmoid) return ActivationKind::kHardSwish;
  return std::nullopt;
}

}  // namespace

void fuse_gates(graph::Graph& graph) {
  const auto producer = graph.producers();
  const auto consumers = graph.consumers();
  std::set<int> fused;
  for (graph::Node& node : graph.nodes) {
    const auto* product = std::get_if<graph::Elementwise>(&node.op);
    if (product == nullptr || product->kind != graph::ElementwiseKind::kMul) continue;
    for (const size_t side : {size_t{0}, size_t{1}}) {
      const ValueId gate = node.inputs[side];
      const ValueId x = node.inputs[1 - side];
      const int index = producer[gate];
      if (index < 0 || consumers[gate].size() != 1) continue;
      if (std::ranges::find(graph.outputs, gate) != graph.outputs.end()) continue;
      const auto kind = gate_of(graph.nodes[index], x);
      if (!kind) continue;
      node.op = graph::Activation{*kind};
      node.inputs = {x};
      fused.insert(index);
      break;
    }
  }
  std::vector<graph::Node> kept;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!fused.contains(static_cast<int>(i))) kept.push_back(std::move(graph.nodes[i]));
  }
  graph.nodes = std::move(kept);
}

// PyTorch names nodes by scope, "/model.2/m/m.0/cv1/conv/Conv_1", where a container comes before
// its element.
std::string module_path(const std::string& weight, const std::string& node) {
  constexpr std::string_view kWeight = ".weight";
  if (weight.ends_with(kWeight) && !weight.starts_with("onnx::")) {
    return weight.substr(0, weight.size() - kWeight.size());
  }
  if (!node.starts_with('/')) return "";
  std::vector<std::string> parts;
  size_t start = 1;
  for (size_t end = node.find('/', start); end != std::string::npos; end = node.find('/', start)) {
    std::string part = node.substr(start, end - start);
    if (!parts.empty() && part.starts_with(parts.back() + ".")) parts.pop_back();
    parts.push_back(std::move(part));
    start = end + 1;
  }
  std::string path;
  for (const std::string& part : parts) path += (path.empty() ? "" : ".") + part;
  return path;  // without the last part, which is the operator
}

}  // namespace yoloquant::onnx
