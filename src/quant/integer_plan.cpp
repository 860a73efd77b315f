#include <algorithm>
#include <functional>
#include <map>

#include "base/error.h"
#include "quant/integer_graph.h"

namespace yoloquant::quant {
namespace {

using graph::Graph;
using graph::Node;
using graph::ValueId;

bool is_activation(const Node& node, graph::ActivationKind kind) {
  const auto* activation = std::get_if<graph::Activation>(&node.op);
  return activation != nullptr && activation->kind == kind;
}

bool is_conv(const Node& node) { return std::holds_alternative<graph::Conv>(node.op); }

// Inputs whose contents count, not only their shapes.
std::vector<ValueId> read_values(const Node& node) {
  if (std::holds_alternative<graph::AnchorGrid>(node.op)) return {};
  if (std::holds_alternative<graph::Reshape>(node.op)) return {node.inputs.at(0)};
  return node.inputs;
}

// Which nodes compute in integers.
class Classifier {
 public:
  explicit Classifier(const Graph& graph)
      : graph_(graph), producer_(graph.producers()), integer_(graph.nodes.size(), false) {}

  std::vector<bool> run() {
    const std::vector<bool> before_conv =
        lead_to([&](size_t i) { return is_conv(node(i)) && !reads_softmax(i); });
    const std::vector<bool> for_scores = only_for_scores(before_conv);
    for (size_t i = 0; i < integer_.size(); ++i) {
      integer_[i] = is_conv(node(i)) && is_quantized(i) && !reads_softmax(i) && !reads_input(i) &&
                    before_conv[i] && !for_scores[i] && !touches_output(i);
    }
    const std::vector<bool> before_integer_conv = lead_to([&](size_t i) { return integer_[i]; });
    for (size_t i = 0; i < integer_.size(); ++i) {
      if (is_conv(node(i)) || for_scores[i]) continue;
      integer_[i] =
          !touches_output(i) && (follows(i) || (before_integer_conv[i] && moves_or_adds(node(i))));
    }
    return integer_;
  }

 private:
  const Node& node(size_t i) const { return graph_.nodes[i]; }

  const Node* producer(ValueId id) const {
    const int index = producer_[static_cast<size_t>(id)];
    return index < 0 ? nullptr : &graph_.nodes[static_cast<size_t>(index)];
  }

  bool is_quantized(size_t i) const {
    const auto found = graph_.quantization.find(node(i).name);
    if (found == graph_.quantization.end() || !found->second.weight || !found->second.input) {
      return false;
    }
    if (found->second.input->bits != 8) {
      fail_usage("layout deploy needs 8-bit activations, {} has {} bits", node(i).name,
                 found->second.input->bits);
    }
    return true;
  }

  bool reads_softmax(size_t i) const {
    const Node* before = producer(node(i).inputs.at(0));
    return before != nullptr && std::holds_alternative<graph::Softmax>(before->op);
  }

  // Outputs of the graph are never quantized.
  bool touches_output(size_t i) const {
    const auto is_output = [&](ValueId id) {
      return std::ranges::find(graph_.outputs, id) != graph_.outputs.end();
    };
    return std::ranges::any_of(node(i).inputs, is_output) ||
           std::ranges::any_of(node(i).outputs, is_output);
  }

  bool reads_input(size_t i) const {
    return std::ranges::find(graph_.inputs, node(i).inputs.at(0)) != graph_.inputs.end();
  }

  // Nodes from whose outputs one that `wanted` holds for can be reached.
  std::vector<bool> lead_to(const std::function<bool(size_t)>& wanted) const {
    std::vector<bool> leads(graph_.nodes.size(), false);
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      if (!wanted(i) && !leads[i]) continue;
      for (const ValueId id : read_values(node(i))) {
        const int before = producer_[static_cast<size_t>(id)];
        if (before >= 0) leads[static_cast<size_t>(before)] = true;
      }
    }
    return leads;
  }

  // Nodes all of whose ways to an output go through a last sigmoid, that of the class scores.
  std::vector<bool> only_for_scores(const std::vector<bool>& before_conv) const {
    std::vector<bool> others(graph_.nodes.size(), false);
    std::vector<bool> needed(graph_.values.size(), false);
    for (const ValueId output : graph_.outputs) needed[static_cast<size_t>(output)] = true;
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      others[i] = std::ranges::any_of(node(i).outputs,
                                      [&](ValueId id) { return needed[static_cast<size_t>(id)]; });
      if (!others[i]) continue;
      if (is_activation(node(i), graph::ActivationKind::kSigmoid) && !before_conv[i]) continue;
      for (const ValueId id : read_values(node(i))) needed[static_cast<size_t>(id)] = true;
    }
    others.flip();
    return others;
  }

  // Activations that take the codes of an integer node.
  bool follows(size_t i) const {
    const auto* activation = std::get_if<graph::Activation>(&node(i).op);
    if (activation == nullptr) return false;
    const bool has_kernel = activation->kind == graph::ActivationKind::kSilu ||
                            activation->kind == graph::ActivationKind::kRelu ||
                            activation->kind == graph::ActivationKind::kLeakyRelu;
    const int before = producer_[static_cast<size_t>(node(i).inputs.at(0))];
    return has_kernel && before >= 0 && integer_[static_cast<size_t>(before)];
  }

  bool is_feature_map(ValueId id) const {
    return graph_.values[static_cast<size_t>(id)].shape.size() == 4;
  }

  bool moves_or_adds(const Node& node) const {
    if (!std::ranges::all_of(node.inputs, [&](ValueId id) { return is_feature_map(id); })) {
      return false;
    }
    const auto* sum = std::get_if<graph::Elementwise>(&node.op);
    if (sum != nullptr && sum->kind == graph::ElementwiseKind::kAdd) {
      const auto shape = [&](size_t i) {
        return graph_.values[static_cast<size_t>(node.inputs[i])].shape;
      };
      return shape(0) == shape(1);
    }
    return std::holds_alternative<graph::Concat>(node.op) ||
           std::holds_alternative<graph::Split>(node.op) ||
           std::holds_alternative<graph::MaxPool>(node.op);
  }

  const Graph& graph_;
  std::vector<int> producer_;
  std::vector<bool> integer_;
};

// Convs that stay float keep the weights their codes stand for.
void keep_float(Graph& graph, const Node& conv) {
  const auto found = graph.quantization.find(conv.name);
  if (found == graph.quantization.end()) return;
  if (found->second.weight) {
    Tensor& weight = graph.parameters.at(conv.name + ".weight");
    weight =
        graph::dequantize(graph::quantize(weight, *found->second.weight), *found->second.weight);
  }
  graph.quantization.erase(found);
}

// Builds the plan's graph node by node and notes what is quantized.
class Planner {
 public:
  explicit Planner(const Graph& annotated) : source_(annotated) { graph::infer_shapes(source_); }

  IntegerPlan run() {
    const std::vector<bool> integer = Classifier(source_).run();
    plan_.graph = source_;
    plan_.graph.nodes.clear();
    readers_ = source_.consumers();
    for (size_t i = 0; i < integer.size(); ++i) {
      const Node& node = source_.nodes[i];
      if (is_conv(node) && !integer[i]) keep_float(plan_.graph, node);
      if (!integer[i]) {
        plan_.graph.nodes.push_back(node);
      } else if (is_activation(node, graph::ActivationKind::kSilu)) {
        take_apart(node);
      } else {
        add(node);
      }
    }
    for (auto& [name, annotation] : plan_.graph.quantization) annotation.input.reset();
    graph::infer_shapes(plan_.graph);
    graph::check(plan_.graph);
    return std::move(plan_);
  }

 private:
  void add(const Node& node) {
    std::vector<size_t> ends;
    for (const auto& ids : {node.inputs, node.outputs}) {
      for (const ValueId id : ids) {
        // A Relu and the rounding behind it are one step of the conv.
        if (!only_read_by_relu(id)) note(id, ends);
      }
    }
    if (std::holds_alternative<graph::Concat>(node.op)) plan_.concats.push_back(ends);
    if (std::holds_alternative<graph::Split>(node.op) ||
        std::holds_alternative<graph::MaxPool>(node.op)) {
      plan_.shared.push_back(ends);
    }
    plan_.graph.nodes.push_back(node);
  }

  void take_apart(const Node& silu) {
    const ValueId input = silu.inputs.at(0);
    const std::string name = silu.name + "/Sigmoid";
    const ValueId gate = plan_.graph.add_node(
        name, graph::Activation{.kind = graph::ActivationKind::kSigmoid}, {input});
    std::vector<size_t> ends;
    note(input, ends);
    plan_.before_silu[ends.back()] = true;
    note(gate, ends);
    plan_.sigmoid[ends.back()] = true;
    note(silu.outputs.at(0), ends);
    plan_.graph.nodes.push_back({.name = silu.name,
                                 .op = graph::Elementwise{graph::ElementwiseKind::kMul},
                                 .inputs = {input, gate},
                                 .outputs = silu.outputs});
  }

  bool only_read_by_relu(ValueId id) const {
    const auto& readers = readers_[static_cast<size_t>(id)];
    return readers.size() == 1 && is_activation(source_.nodes[static_cast<size_t>(readers[0])],
                                                graph::ActivationKind::kRelu);
  }

  void note(ValueId id, std::vector<size_t>& ends) {
    const auto [place, is_new] = index_.try_emplace(id, plan_.values.size());
    if (is_new) {
      plan_.values.push_back(plan_.graph.values[static_cast<size_t>(id)].name);
      plan_.before_silu.push_back(false);
      plan_.sigmoid.push_back(false);
    }
    ends.push_back(place->second);
  }

  Graph source_;
  IntegerPlan plan_;
  std::vector<std::vector<int>> readers_;
  std::map<ValueId, size_t> index_;
};

}  // namespace

IntegerPlan plan_integers(const Graph& annotated) { return Planner(annotated).run(); }

}  // namespace yoloquant::quant
