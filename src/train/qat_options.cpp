#include "train/qat_options.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "base/error.h"
#include "quant/scheme.h"

namespace yoloquant::train {

namespace {

void require(bool good, std::string_view option, double value, std::string_view wanted) {
  if (!good)
    fail_usage("quantization-aware training: {} is {}: it must be {}", option, value, wanted);
}

void require_share(std::string_view option, double value) {
  require(value >= 0 && value <= 1, option, value, "between 0 and 1");
}

}  // namespace

std::vector<BitStage> progressive_stages(const std::vector<int>& bits) {
  std::vector<BitStage> stages;
  for (size_t i = 0; i < bits.size(); ++i) {
    stages.push_back({.progress = 0.5 * static_cast<double>(i) / static_cast<double>(bits.size()),
                      .bits = bits[i]});
  }
  if (!stages.empty()) stages.push_back({.progress = 0.5, .bits = quant::kMinWeightBits});
  return stages;
}

std::vector<BitStage> scratch_stages() { return progressive_stages({8, 6}); }

double scratch_step_rate(OptimizerKind optimizer) {
  return optimizer == OptimizerKind::kAdamW ? 10 : 1;
}

void check(const QatOptions& options) {
  require(options.step_rate >= 0 && std::isfinite(options.step_rate), "step_rate",
          options.step_rate, "0 or more");
  require(options.dampening >= 0 && std::isfinite(options.dampening), "dampening",
          options.dampening, "0 or more");
  require_share("freeze_threshold", options.freeze_threshold);
  require_share("final_freeze_threshold", options.final_freeze_threshold);
  require(options.oscillation_momentum > 0 && options.oscillation_momentum <= 1,
          "oscillation_momentum", options.oscillation_momentum, "above 0, at most 1");
  require_share("freeze_norms_after", options.freeze_norms_after);
  require_share("correct_after", options.correct_after);
  double last = 0;
  for (const BitStage& stage : options.stages) {
    require(stage.progress >= last && stage.progress <= 1, "progress of a stage", stage.progress,
            "between 0 and 1, in ascending order");
    require(quant::valid_weight_bits(stage.bits), "bits of a stage", stage.bits, "2 to 8");
    last = stage.progress;
  }
}

double cosine_between(double start, double end, double progress) {
  const double way = 0.5 - 0.5 * std::cos(std::numbers::pi * std::clamp(progress, 0.0, 1.0));
  return start + (end - start) * way;
}

}  // namespace yoloquant::train
