#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "exec/named_tensors.h"
#include "train/train_options.h"
#include "train/trainable_graph.h"

namespace yoloquant::train {

// Parameters that share a rate and a weight decay.
struct ParameterGroup {
  std::string name;
  NamedTensors parameters;
  double weight_decay = 0;
};

// Ultralytics' groups in its order (learning rates pg0, pg1, pg2): "bias" (of convs and batch
// norms), "weight" (of convs, the one with weight decay), "norm" (the scales of batch norms).
std::vector<ParameterGroup> parameter_groups(const TrainableGraph& model, double weight_decay);

// Updates parameters from their gradients. Runs as one kernel a group (LibTorch's fused
// optimizers).
class Optimizer {
 public:
  Optimizer(OptimizerKind kind, std::vector<ParameterGroup> groups);

  // One step; `rates` by group, `momentum` is AdamW's beta1. Parameters without a gradient stay.
  void step(std::span<const double> rates, double momentum);
  void clear_gradients();

  // Scales all gradients down so that their joint norm is at most `max_norm`, as
  // torch.nn.utils.clip_grad_norm_. Returns the norm before, a scalar that no one has waited for
  // yet.
  at::Tensor clip_gradients(double max_norm);

  const std::vector<ParameterGroup>& groups() const { return groups_; }

  // The moments, the tensors themselves: NAME.momentum, or NAME.first, NAME.second and NAME.steps.
  // With them and the parameters (exec::to_host, exec::copy_into), steps go on bit for bit.
  NamedTensors state() const;

 private:
  struct Moments {
    at::Tensor first;   // SGD's momentum buffer, AdamW's first moment
    at::Tensor second;  // AdamW only
    at::Tensor steps;   // AdamW only: scalar float32
  };

  OptimizerKind kind_;
  std::vector<ParameterGroup> groups_;
  std::map<std::string, Moments> moments_;
};

}  // namespace yoloquant::train
