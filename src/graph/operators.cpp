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
                 [](const AnchorGrid&) -> Name { return "anchor_grid"; },
                 [](const SelectDetections&) -> Name { return "select_detections"; }},
      op);
}

}  // namespace yoloquant::graph
