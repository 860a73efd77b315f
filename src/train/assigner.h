#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "train/trainable_graph.h"

namespace yoloquant::train {

// The M boxes of a batch's images, M >= 0, all on the model's device.
struct Targets {
  at::Tensor image;  // [M] int64, index in the batch
  at::Tensor label;  // [M] int64, class in [0, C)
  at::Tensor box;    // [M, 4] float32, x1, y1, x2, y2 in pixels of the input
};

// Pairs of a box and an anchor point inside of it; they do not depend on the predictions.
struct Candidates {
  at::Tensor target;  // [Q] int64, index into Targets, ascending
  at::Tensor point;   // [Q] int64, in [0, A)
};
Candidates find_candidates(const Targets& targets, const Anchors& anchors);

// Which predictions answer for which box: P of them, each at most once an image.
struct Assignment {
  at::Tensor image;   // [P] int64
  at::Tensor point;   // [P] int64
  at::Tensor target;  // [P] int64, index into Targets
  at::Tensor score;   // [P] float32: the class score that is asked for, the highest of a box being
                      // the IoU it reaches
};

// Task-aligned assignment (Feng et al. 2021; Ultralytics TaskAlignedAssigner): of the points inside
// a box, the `top_k` of highest score^alpha * CIoU^beta. A point that several boxes want goes to
// the one it overlaps most.
struct AssignerOptions {
  int64_t top_k = 10;  // 10 for one2many, 1 for one2one
  double alpha = 0.5;
  double beta = 6;
};

// `classes` [N, C, A] are logits, `boxes` [N, 4, A] the predicted corners in pixels. Nothing is
// differentiated.
Assignment assign(const Targets& targets, const Candidates& candidates, const at::Tensor& classes,
                  const at::Tensor& boxes, const AssignerOptions& options);

}  // namespace yoloquant::train
