#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "train/schedule.h"

// What a training is asked for, without LibTorch.
namespace yoloquant::train {

// The parts of the loss, weighted (see DetectionLoss): of one2many and one2one.
inline constexpr std::array<std::string_view, 6> kLossNames = {"box_om", "cls_om", "dfl_om",
                                                               "box_oo", "cls_oo", "dfl_oo"};

enum class OptimizerKind : uint8_t {
  kSgd,    // with Nesterov's momentum, as torch.optim.SGD(nesterov=True)
  kAdamW,  // Loshchilov, Hutter 2019, as torch.optim.AdamW: beta2 .999, eps 1e-8
};
OptimizerKind parse_optimizer(std::string_view name);  // "sgd", "adamw"; Error (usage)
std::string_view optimizer_name(OptimizerKind kind);

enum class EvaluatedHead : uint8_t { kOneToOne, kOneToMany };

// What convs and matrix products compute in; weights, sums and the loss stay float32.
enum class Precision : uint8_t {
  kFloat32,
  kBFloat16,
  kFloat16,  // CUDA only, with a gradient scaler
};
Precision parse_precision(std::string_view name);  // "off", "bf16", "fp16"; Error (usage)
std::string_view precision_name(Precision precision);

struct TrainerOptions {
  std::string device = "cpu";  // "cpu", "cuda:0": see exec::resolve_device
  Precision precision = Precision::kFloat32;
  OptimizerKind optimizer = OptimizerKind::kSgd;
  ScheduleOptions schedule;
  double box = 7.5;  // gains of the loss, see LossOptions
  double classes = 0.5;
  double dfl = 1.5;
  double clip_norm = 10;      // joint norm of all gradients at most; 0: not clipped
  double ema_decay = 0.9999;  // see make_ema
  double ema_tau = 2000;
  EvaluatedHead evaluated = EvaluatedHead::kOneToOne;
  bool freeze_norm = false;  // batch norms normalize with their running statistics
};

// Throws Error (usage) that names what makes no sense.
void check_options(const TrainerOptions& options);

}  // namespace yoloquant::train
