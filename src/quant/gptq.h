#pragma once

#include "quant/conv_fit.h"
#include "quant/method.h"

namespace yoloquant::quant {

// GPTQ for convs (Frantar et al. 2022) whose target is the float model's output, not its weights.
// Convs are visited in execution order with their inputs in the float model and behind the layers
// quantized so far, and fitted by conv_fit.h, more to positions that matter to the detections; the
// bias takes up the change of the mean output. Uses no labels, and no image of held_out_count's.
class Gptq : public Method {
 public:
  std::string_view name() const override { return "gptq"; }
  void apply(graph::Graph& annotated, const MethodContext& context) override;
};

struct GptqOptions {
  FitOptions fit;
  int64_t images = 80;
  int64_t memory = int64_t{640} << 20;  // of the values of these images, see walk_pairs
};

// Runs it with explicit options; for experiments and tests.
void run_gptq(graph::Graph& annotated, const MethodContext& context,
              const GptqOptions& options = {});

}  // namespace yoloquant::quant
