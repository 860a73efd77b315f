#include "train/train_options.h"

#include "base/error.h"

namespace yoloquant::train {

OptimizerKind parse_optimizer(std::string_view name) {
  if (name == "sgd") return OptimizerKind::kSgd;
  if (name == "adamw") return OptimizerKind::kAdamW;
  fail_usage("optimizer \"{}\" is not known: it is sgd or adamw", name);
}

std::string_view optimizer_name(OptimizerKind kind) {
  return kind == OptimizerKind::kSgd ? "sgd" : "adamw";
}

Precision parse_precision(std::string_view name) {
  if (name == "off") return Precision::kFloat32;
  if (name == "bf16") return Precision::kBFloat16;
  if (name == "fp16") return Precision::kFloat16;
  fail_usage("mixed precision \"{}\" is not known: it is off, bf16 or fp16", name);
}

std::string_view precision_name(Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return "off";
    case Precision::kBFloat16:
      return "bf16";
    case Precision::kFloat16:
      return "fp16";
  }
  return "";
}

void check_options(const TrainerOptions& options) {
  if (options.precision == Precision::kFloat16 && options.device == "cpu") {
    fail_usage("mixed precision fp16 needs a GPU: on the CPU it is bf16 or off");
  }
  const auto check = [](const char* name, double value, double high) {
    if (!(value >= 0) || !(value <= high)) {
      fail_usage("{} is {}: it must lie in 0..{}", name, value, high);
    }
  };
  check("gain of the box loss", options.box, 1e6);
  check("gain of the class loss", options.classes, 1e6);
  check("gain of the distribution focal loss", options.dfl, 1e6);
  check("largest gradient norm", options.clip_norm, 1e12);
  check("decay of the running mean", options.ema_decay, 1);
  if (!(options.ema_tau > 0)) fail_usage("tau of the running mean is {}", options.ema_tau);
}

}  // namespace yoloquant::train
