#pragma once

#include "quant/method.h"

namespace yoloquant::quant {

// GPTQ for convs (Frantar et al. 2022) whose target is the float model's output, not its weights.
// Convs are visited in execution order with their inputs in the float model (x) and behind the
// layers quantized so far (x'). With H = E[x' x''], C = E[x x''] the target is the weight that
// reproduces the float output from the quantized inputs, W (C + l I)(H + l I)^-1, and what remains
// is rounded by round_row. The bias takes up the change of the mean output. One fit per group of
// the conv (per channel when depthwise). Uses no labels.
class Gptq : public Method {
 public:
  std::string_view name() const override { return "gptq"; }
  void apply(graph::Graph& annotated, const MethodContext& context) override;
};

// The settings of an effort; exposed for experiments and tests.
struct GptqOptions {
  int64_t images = 48;
  int64_t positions = 800;  // of the im2col matrix, per image
  double damping = 0.15;    // l as a fraction of mean diag H, in the target and in the rounding
  int scale_candidates = 14;
  int descent_sweeps = 3;
  bool output_target = true;  // false: plain GPTQ, the float weights are the target
};
GptqOptions gptq_options(Effort effort);

// Runs it with explicit options.
void run_gptq(graph::Graph& annotated, const MethodContext& context, const GptqOptions& options);

}  // namespace yoloquant::quant
