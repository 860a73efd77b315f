#pragma once

#include <cstdint>

#include "exec/operators.h"
#include "graph/operators.h"
#include "train/norm_kernels.h"

namespace yoloquant::train {

// Which statistics batch norms normalize with.
enum class NormMode : uint8_t {
  kTraining,    // the batch's; the running ones move towards them (BatchNorm::momentum)
  kEvaluation,  // the running ones
};

// Batch norm with the activation behind it: x [N, C, H, W] -> activation(y) of the same shape,
// y = weight (x - mean) / sqrt(variance + eps) + bias (Ioffe, Szegedy 2015). In training mode
// with the batch's biased moments; the running variance moves towards the unbiased one, as in
// torch.nn.BatchNorm2d. Differentiable in x, weight and bias; keeps x alone for that.
//
// On the CPU float32 runs channels last (the result is so whatever x is): LibTorch's batch norm for
// that layout sums in float32, which costs gradients .1 % at 640 pixels. Everything else is
// LibTorch's.
at::Tensor batch_norm(const at::Tensor& x, const graph::BatchNorm& norm,
                      const exec::NodeParameters& parameters, NormMode mode,
                      NormActivation activation);

// running = (1 - momentum) running + momentum target; nothing when `running` is undefined.
void move_running(const at::Tensor& running, const at::Tensor& target, double momentum);

}  // namespace yoloquant::train
