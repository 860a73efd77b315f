#include "cli/qat_arguments.h"

#include "base/error.h"
#include "cli/option_value.h"
#include "quant/scheme.h"

namespace yoloquant::cli {

namespace {

// "8,6"; "none" and nothing give none.
std::vector<int> progressive_bits(const std::vector<std::string>& list) {
  std::vector<int> bits;
  if (list == std::vector<std::string>{"none"}) return bits;
  for (const std::string& text : list) {
    with_context("--progressive takes bits such as 8,6, or none", [&] {
      bits.push_back(
          static_cast<int>(parse_integer(text, quant::kMinWeightBits, quant::kMaxWeightBits)));
    });
  }
  return bits;
}

}  // namespace

void QatArguments::declare(Options& o) {
  train::QatOptions& qat = settings.options;
  o.section("Training with quantizers");
  o.add("norm-batches", &settings.norm_batches,
        "batches whose statistics replace those of batch norms before each validation; 0: none")
      .at_least(0);
  o.add("distill", &settings.distillation,
        "weight of the difference to the float model's outputs in the loss; 0: none")
      .at_least(0);
  o.add("teacher", &settings.teacher,
        "checkpoint of that float model (the model itself when not given)")
      .completes(Completion::kModels);
  o.add("step-rate", &step_rate,
        "learning rate of step sizes, times the weights'; 0: 1, or 10 where AdamW trains from "
        "scratch")
      .at_least(0);
  o.add("learn-zero-points", &qat.learn_zero_points, "zero points of activations too (LSQ+)");
  o.add("lsq-start", &lsq_start, "steps of weights start as in LSQ, not at the least error");
  o.add("dampening", &qat.dampening,
        "weight of the term that draws weights to the middle of their codes; rises by a cosine")
      .at_least(0);
  o.add("freezing", &qat.freezing, "weights that oscillate too often keep their code");
  o.add("freeze-threshold", &qat.freeze_threshold, "frequency from which on, at the start")
      .between(0, 1);
  o.add("final-freeze-threshold", &qat.final_freeze_threshold, "at the end; a cosine between")
      .between(0, 1);
  o.add("freeze-norm-after", &qat.freeze_norms_after,
        "part of the training after which batch norms keep their statistics; 1: never")
      .between(0, 1);
  o.add("correct-after", &qat.correct_after,
        "part of the training after which codes stay, and only scales and shifts of output "
        "channels are trained; 1: never")
      .between(0, 1);
  o.add(
      "progressive", &progressive,
      "bits of weights in the first half of the training, in equal parts, or none (8,6 for train, "
      "none for others, when not given)");
  o.add("gap-period", &settings.gap_period,
        "validate the weights without averaging too, every so many epochs; 0: never")
      .at_least(0);
}

pipeline::QatSettings QatArguments::get() const {
  pipeline::QatSettings result = settings;
  if (step_rate > 0) result.options.step_rate = step_rate;
  if (lsq_start) result.options.weight_steps = train::StepStart::kLsq;
  result.options.stages = train::progressive_stages(progressive_bits(progressive));
  return result;
}

void declare_watch(Options& o, train::WatchOptions* watch) {
  o.section("Watch");
  o.add("watch-fall", &watch->relative_fall,
        "training has collapsed when mAP50-95 is below the best by more than this part of it")
      .between(0, 1);
  o.add("watch-tries", &watch->tries,
        "times that it goes back to the last good epoch; then it ends with the diagnosis")
      .at_least(0);
  o.add("watch-rate", &watch->rate_factor, "of the learning rates, each time").between(0, 1);
}

}  // namespace yoloquant::cli
