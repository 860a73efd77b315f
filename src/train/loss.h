#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "train/assigner.h"
#include "train/train_options.h"
#include "train/trainable_graph.h"

namespace yoloquant::train {

struct LossOptions {
  double box = 7.5;
  double classes = 0.5;
  double dfl = 1.5;
  AssignerOptions one2many{.top_k = 10};
  AssignerOptions one2one{.top_k = 1};
  // For data-parallel training: gives the sum of a tensor over all ranks. Then `total` and `items`
  // are this rank's share of the whole batch's: they, and the gradients of `total`, add up over the
  // ranks to what one process with all the images has.
  std::function<at::Tensor(const at::Tensor&)> sum_over_ranks;
};

struct DetectionLoss {
  at::Tensor total;  // scalar: the sum of the items times the images of the (whole) batch
  at::Tensor items;  // [6] float32, detached: weighted, see kLossNames
};

// The loss of YOLOv10: for each head, with s the assigned scores and S = max(sum s, 1),
//   box: sum s (1 - CIoU) / S;   classes: BCE over all points and classes / S;
//   dfl: sum s DFL / S, the mean over the four sides.
// Half-precision logits are taken to float32. Without targets only the class terms remain.
// Follows: Ultralytics v8DetectionLoss, THU-MIG v10DetectLoss.
DetectionLoss detection_loss(const Logits& logits, const Targets& targets,
                             const LossOptions& options = {});

}  // namespace yoloquant::train
