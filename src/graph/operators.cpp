#include "graph/operators.h"

namespace yoloquant::graph {

namespace {

std::string_view activation_name(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kSilu:
      return "silu";
    case ActivationKind::kSigmoid:
      return "sigmoid";
    case ActivationKind::kRelu:
      return "relu";
    case ActivationKind::kLeakyRelu:
      return "leaky_relu";
    case ActivationKind::kHardSwish:
      return "hard_swish";
    case ActivationKind::kHardSigmoid:
      return "hard_sigmoid";
  }
  return "?";
}

std::string_view elementwise_name(ElementwiseKind kind) {
  switch (kind) {
    case ElementwiseKind::kAdd:
      return "add";
    case ElementwiseKind::kSub:
      return "sub";
    case ElementwiseKind::kMul:
      return "mul";
    case ElementwiseKind::kDiv:
      return "div";
    case ElementwiseKind::kPow:
      return "pow";
    case ElementwiseKind::kMin:
      return "min";
    case ElementwiseKind::kMax:
      return "max";
    case ElementwiseKind::kMod:
      return "mod";
  }
  return "?";
}

std::string_view reduce_name(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::kMax:
      return "reduce_max";
    case ReduceKind::kMin:
      return "reduce_min";
    case ReduceKind::kMean:
      return "reduce_mean";
    case ReduceKind::kSum:
      return "reduce_sum";
  }
  return "?";
}

}  // namespace

std::string_view operator_name(const Operator& op) {
  using Name = std::string_view;
  return std::visit(
      Overloaded{[](const Conv&) -> Name { return "conv"; },
                 [](const BatchNorm&) -> Name { return "batch_norm"; },
                 [](const Activation& a) -> Name { return activation_name(a.kind); },
                 [](const Elementwise& e) -> Name { return elementwise_name(e.kind); },
                 [](const MaxPool&) -> Name { return "max_pool"; },
                 [](const Upsample&) -> Name { return "upsample"; },
                 [](const Concat&) -> Name { return "concat"; },
                 [](const Split&) -> Name { return "split"; },
                 [](const Reshape&) -> Name { return "reshape"; },
                 [](const Transpose&) -> Name { return "transpose"; },
                 [](const MatMul&) -> Name { return "matmul"; },
                 [](const Softmax&) -> Name { return "softmax"; },
                 [](const Constant&) -> Name { return "constant"; },
                 [](const Slice&) -> Name { return "slice"; },
                 [](const Gather& g) -> Name { return g.elements ? "gather_elements" : "gather"; },
                 [](const Reduce& r) -> Name { return reduce_name(r.kind); },
                 [](const TopK&) -> Name { return "top_k"; },
                 [](const Expand&) -> Name { return "expand"; },
                 [](const Tile&) -> Name { return "tile"; },
                 [](const Cast&) -> Name { return "cast"; },
                 [](const Opaque& o) -> Name { return o.type; },
                 [](const AnchorGrid&) -> Name { return "anchor_grid"; },
                 [](const SelectDetections&) -> Name { return "select_detections"; }},
      op);
}

}  // namespace yoloquant::graph
