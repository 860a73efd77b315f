#pragma once

#include <ATen/core/Tensor.h>

// Boxes are [..., 4] tensors of corners x1, y1, x2, y2.
namespace yoloquant::train {

// Complete IoU of boxes pair by pair, [...]; differentiable. Zheng et al. 2020; Ultralytics
// bbox_iou(CIoU=True), whose small numbers against division by zero depend on the boxes' unit.
at::Tensor complete_iou(const at::Tensor& a, const at::Tensor& b);

// Boxes whose sides are `distances` [..., 4] (left, top, right, bottom) from `points` [..., 2].
// Ultralytics dist2bbox(xywh=False).
at::Tensor boxes_from_distances(const at::Tensor& points, const at::Tensor& distances);
// The inverse. Ultralytics bbox2dist, without its clamping.
at::Tensor distances_from_boxes(const at::Tensor& points, const at::Tensor& boxes);

// Expected distance of each side, in cells, for logits with the bins 0, 1, ... along `axis`: the
// projection of the distribution focal loss (Li et al. 2020).
at::Tensor expected_distances(const at::Tensor& logits, int64_t axis);

// Boxes [N, A, 4] in pixels that a head's distributions [N, bins, 4, A] stand for; points [2, A] in
// cells, strides [A] in pixels (see Anchors).
at::Tensor decode_boxes(const at::Tensor& logits, const at::Tensor& points,
                        const at::Tensor& strides);

}  // namespace yoloquant::train
