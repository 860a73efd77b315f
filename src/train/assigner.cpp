#include "train/assigner.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/eq.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/index.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/scatter_reduce.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "train/boxes.h"

namespace yoloquant::train {

namespace {

constexpr double kEpsilon = 1e-9;

at::Tensor choose(const at::Tensor& values, const at::Tensor& indices) {
  return values.index_select(0, indices);
}

// The largest value of each group, 0 for groups without any. REQUIRES: values >= 0.
at::Tensor group_max(const at::Tensor& values, const at::Tensor& group, int64_t groups) {
  return at::zeros({groups}, values.options()).scatter_reduce(0, group, values, "amax");
}

// Whether a pair is among the `top_k` of its target by metric, and the metric is not 0.
at::Tensor best_of_each_target(const at::Tensor& metric, const Candidates& pairs, int64_t targets,
                               int64_t points, int64_t top_k) {
  const at::Tensor place = pairs.target.mul(points).add(pairs.point);
  const at::Tensor all =
      at::zeros({targets * points}, metric.options()).index_put_({place}, metric);
  const at::Tensor best =
      std::get<1>(at::topk(all.view({targets, points}), std::min(top_k, points), 1));
  const at::Tensor row = at::arange(targets, best.options()).mul(points).unsqueeze(1);
  const at::Tensor chosen = at::zeros({targets * points}, metric.options().dtype(at::kBool))
                                .index_fill_(0, best.add(row).flatten(), true);
  return at::logical_and(choose(chosen, place), metric.gt(0));
}

// Predictions that several targets want go to the target with the largest overlap, the first of
// equals, also when that has not chosen them. `prediction` numbers a pair's prediction in the
// batch.
at::Tensor resolve_conflicts(const at::Tensor& chosen, const at::Tensor& prediction,
                             const at::Tensor& target, const at::Tensor& overlap,
                             int64_t predictions) {
  const at::Tensor wanted = at::zeros({predictions}, prediction.options())
                                .index_add_(0, prediction, chosen.to(at::kLong));
  const at::Tensor contested = choose(wanted, prediction).gt(1);
  const at::Tensor open = contested.nonzero().flatten();
  const at::Tensor key = choose(prediction, open);
  const at::Tensor own_overlap = choose(overlap, open);
  const at::Tensor own_target = choose(target, open);
  const at::Tensor most = choose(group_max(own_overlap, key, predictions), key);
  const int64_t nobody = std::numeric_limits<int64_t>::max();
  const at::Tensor claim = at::where(own_overlap.eq(most), own_target, nobody);
  const at::Tensor winner =
      at::full({predictions}, nobody, key.options()).scatter_reduce(0, key, claim, "amin");
  at::Tensor result = chosen.clone();
  result.index_copy_(0, open, choose(winner, key).eq(own_target));
  return result;
}

}  // namespace

Candidates find_candidates(const Targets& targets, const Anchors& anchors) {
  const at::NoGradGuard guard;
  const at::Tensor points = anchors.points.mul(anchors.strides);  // [2, A] pixels
  const auto side = [&](int64_t i) { return targets.box.select(1, i).unsqueeze(1); };
  const auto beyond = [](const at::Tensor& a, const at::Tensor& b) {
    return a.sub(b).gt(kEpsilon);
  };
  const at::Tensor inside = beyond(points[0], side(0))
                                .logical_and_(beyond(points[1], side(1)))
                                .logical_and_(beyond(side(2), points[0]))
                                .logical_and_(beyond(side(3), points[1]));
  const at::Tensor pairs = inside.nonzero();
  return {pairs.select(1, 0).contiguous(), pairs.select(1, 1).contiguous()};
}

Assignment assign(const Targets& targets, const Candidates& candidates, const at::Tensor& classes,
                  const at::Tensor& boxes, const AssignerOptions& options) {
  const at::NoGradGuard guard;
  const int64_t points = classes.size(2);
  const int64_t target_count = targets.image.size(0);
  const at::Tensor image = choose(targets.image, candidates.target);
  const at::Tensor label = choose(targets.label, candidates.target);

  const at::Tensor score =
      at::sigmoid(at::index(classes, {image, label, candidates.point}).to(at::kFloat));
  const at::Tensor predicted = at::index(boxes.permute({0, 2, 1}), {image, candidates.point});
  const at::Tensor overlap =
      complete_iou(choose(targets.box, candidates.target), predicted).clamp_min_(0);
  const at::Tensor metric = score.pow(options.alpha).mul_(overlap.pow(options.beta));

  at::Tensor chosen = best_of_each_target(metric, candidates, target_count, points, options.top_k);
  chosen = resolve_conflicts(chosen, image.mul(points).add(candidates.point), candidates.target,
                             overlap, classes.size(0) * points);
  const at::Tensor kept = chosen.nonzero().flatten();
  Assignment result{.image = choose(image, kept),
                    .point = choose(candidates.point, kept),
                    .target = choose(candidates.target, kept),
                    .score = {}};
  const at::Tensor own = choose(metric, kept);
  const at::Tensor best_metric = group_max(own, result.target, target_count);
  const at::Tensor best_overlap = group_max(choose(overlap, kept), result.target, target_count);
  result.score = own.mul(choose(best_overlap.div(best_metric.add(kEpsilon)), result.target));
  return result;
}

}  // namespace yoloquant::train
