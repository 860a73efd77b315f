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

struct LoneRoundingOptions {
  // Half as many scales and a shorter search: for comparing layers, not for keeping.
  FitOptions fit{.scale_candidates = 7, .moves = 1, .output_target = false};
  int64_t images = 32;
  uint64_t seed = 0;
  std::string device = "auto";
};

// More bits need no more than the nearest codes.
inline constexpr int kFineWeightBits = 7;

// Rounds every conv as gptq does when all other layers stay float. `annotated`: graphs that
// annotate_weights has annotated, each with its own numbers of bits. What has less than
// kFineWeightBits gets new weights, scales and biases.
void round_alone(const graph::Graph& inference, const std::vector<graph::Graph*>& annotated,
                 CalibrationData& images, const LoneRoundingOptions& options,
                 Progress& progress = Progress::none());

}  // namespace yoloquant::quant
