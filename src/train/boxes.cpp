#include "train/boxes.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/atan.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/div.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>

#include <numbers>

namespace yoloquant::train {

namespace {

constexpr double kEpsilon = 1e-7;

struct Corners {
  at::Tensor x1, y1, x2, y2;

  explicit Corners(const at::Tensor& boxes)
      : x1(boxes.select(-1, 0)),
        y1(boxes.select(-1, 1)),
        x2(boxes.select(-1, 2)),
        y2(boxes.select(-1, 3)) {}

  at::Tensor width() const { return x2.sub(x1); }
  at::Tensor height() const { return y2.sub(y1).add(kEpsilon); }
};

}  // namespace

at::Tensor complete_iou(const at::Tensor& first, const at::Tensor& second) {
  const Corners a(first);
  const Corners b(second);
  const at::Tensor shared_width = at::minimum(a.x2, b.x2).sub(at::maximum(a.x1, b.x1)).clamp_min(0);
  const at::Tensor shared_height =
      at::minimum(a.y2, b.y2).sub(at::maximum(a.y1, b.y1)).clamp_min(0);
  const at::Tensor shared = shared_width.mul(shared_height);
  const at::Tensor areas = a.width().mul(a.height()).add(b.width().mul(b.height()));
  const at::Tensor iou = shared.div(areas.sub(shared).add(kEpsilon));

  const at::Tensor hull_width = at::maximum(a.x2, b.x2).sub(at::minimum(a.x1, b.x1));
  const at::Tensor hull_height = at::maximum(a.y2, b.y2).sub(at::minimum(a.y1, b.y1));
  const at::Tensor diagonal = at::square(hull_width).add(at::square(hull_height)).add(kEpsilon);
  const at::Tensor dx = b.x1.add(b.x2).sub(a.x1).sub(a.x2);
  const at::Tensor dy = b.y1.add(b.y2).sub(a.y1).sub(a.y2);
  const at::Tensor distance = at::square(dx).add(at::square(dy)).div(4);

  const at::Tensor angle =
      at::atan(b.width().div(b.height())).sub(at::atan(a.width().div(a.height())));
  const at::Tensor aspect = at::square(angle).mul(4 / (std::numbers::pi * std::numbers::pi));
  at::Tensor weight;
  {
    const at::NoGradGuard guard;
    weight = aspect.div(aspect.sub(iou).add(1 + kEpsilon));
  }
  return iou.sub(distance.div(diagonal).add(aspect.mul(weight)));
}

at::Tensor boxes_from_distances(const at::Tensor& points, const at::Tensor& distances) {
  return at::cat({points.sub(distances.slice(-1, 0, 2)), points.add(distances.slice(-1, 2, 4))},
                 -1);
}

at::Tensor distances_from_boxes(const at::Tensor& points, const at::Tensor& boxes) {
  return at::cat({points.sub(boxes.slice(-1, 0, 2)), boxes.slice(-1, 2, 4).sub(points)}, -1);
}

at::Tensor expected_distances(const at::Tensor& logits, int64_t axis) {
  std::vector<int64_t> shape(static_cast<size_t>(logits.dim()), 1);
  shape[static_cast<size_t>(axis)] = logits.size(axis);
  const at::Tensor bins = at::arange(logits.size(axis), logits.options()).view(shape);
  return at::softmax(logits, axis).mul(bins).sum(axis);
}

at::Tensor decode_boxes(const at::Tensor& logits, const at::Tensor& points,
                        const at::Tensor& strides) {
  const at::Tensor distances = expected_distances(logits, 1).permute({0, 2, 1});  // [N, A, 4]
  return boxes_from_distances(points.t(), distances).mul(strides.unsqueeze(1));
}

}  // namespace yoloquant::train
