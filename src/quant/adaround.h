#pragma once

#include "quant/block_reconstruction.h"
#include "quant/method.h"

namespace yoloquant::quant {

// Learned rounding by blocks. Each weight may go to either of two neighbouring codes; which one is
// learned by gradient descent (AdaRound, Nagel et al. 2020) so that the outputs of a block of convs
// come close to the float model's (BRECQ, Li et al. 2021). Blocks are visited in execution order,
// with inputs mixed value by value from the float model and from the layers quantized so far
// (QDrop, Wei et al. 2022). Scales stay. A block's result is kept only when its error on held-out
// images falls. Uses no labels. Saves after each block, and goes on behind the last one that was
// done, through MethodContext::state.
class AdaRound : public Method {
 public:
  std::string_view name() const override { return "adaround"; }
  void apply(graph::Graph& annotated, const MethodContext& context) override;
};

struct AdaRoundOptions {
  ReconstructionOptions block;
  int64_t images = 32;                // at most
  int64_t memory = int64_t{3} << 29;  // bytes for the values of all images; fewer images fit then
};
AdaRoundOptions adaround_options(Effort effort);

// Runs it with explicit options; for experiments and tests. Returns what came of each block that
// was fitted, in execution order; blocks done before an interruption are not among them.
std::vector<BlockResult> run_adaround(graph::Graph& annotated, const MethodContext& context,
                                      const AdaRoundOptions& options);

}  // namespace yoloquant::quant
