#pragma once

#include "quant/method.h"

namespace yoloquant::quant {

// Chooses the scales of all weights as the settings say and rounds to nearest. Every chain of
// methods starts from it. Sets graph.quantization[conv].weight for the convs that are not skipped
// and clears the others. Throws Error that names the conv for weights that are not finite.
void annotate_weights(graph::Graph& graph, const QuantizationConfig& config, int threads = 0);

class Nearest : public Method {
 public:
  std::string_view name() const override { return "nearest"; }
  void apply(graph::Graph& annotated, const MethodContext& context) override;
};

}  // namespace yoloquant::quant
