#include "train/loss.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/index.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <torch/csrc/autograd/custom_function.h>

#include "train/boxes.h"

namespace yoloquant::train {

namespace {

// Terms of one head before they are divided by the sum of scores.
struct HeadTerms {
  at::Tensor box;
  at::Tensor classes;
  at::Tensor dfl;
  at::Tensor score_sum;
};

// sum BCE(x, 0) = sum x - log_sigmoid(x), as the original computes it: the difference loses what is
// below the rounding of x, about .1 % of the sum. The gradient is exact and costs one pass.
class BackgroundEntropy : public torch::autograd::Function<BackgroundEntropy> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& logits) {
    context->save_for_backward({logits});
    return at::log_sigmoid(logits).sub_(logits).sum().neg();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradient) {
    return {at::sigmoid(context->get_saved_variables()[0]).mul_(gradient[0])};
  }
};

// Cross entropy of distances [P, 4] (cells), each shared out between its two neighbouring bins;
// mean over the sides, [P].
at::Tensor distribution_focal_loss(const at::Tensor& logits, const at::Tensor& distances) {
  const at::Tensor log_p = at::log_softmax(logits, -1);
  const at::Tensor lower = at::floor(distances);
  const at::Tensor bin = lower.to(at::kLong).unsqueeze(-1);
  const at::Tensor upper_share = distances.sub(lower);
  const at::Tensor lower_share = upper_share.neg().add(1);
  const at::Tensor entropy = log_p.gather(-1, bin)
                                 .squeeze(-1)
                                 .mul(lower_share)
                                 .add(log_p.gather(-1, bin.add(1)).squeeze(-1).mul(upper_share));
  return entropy.mean(-1).neg();
}

// [N, 4, A] in pixels.
at::Tensor decode(const at::Tensor& logits, const Anchors& anchors) {
  const at::NoGradGuard guard;
  return decode_boxes(logits, anchors.points, anchors.strides).permute({0, 2, 1});
}

HeadTerms head_terms(const HeadLogits& head, const Targets& targets, const Candidates& candidates,
                     const Anchors& anchors, const AssignerOptions& options) {
  const at::Tensor box_logits = head.boxes.to(at::kFloat);
  const at::Tensor class_logits = head.classes.to(at::kFloat);
  const Assignment assigned = assign(targets, candidates, class_logits.detach(),
                                     decode(box_logits.detach(), anchors), options);

  // BCE(x, t) = BCE(x, 0) - x t, and t is 0 but for the assigned.
  const at::Tensor label = targets.label.index_select(0, assigned.target);
  const at::Tensor asked = at::index(class_logits, {assigned.image, label, assigned.point});
  HeadTerms terms;
  terms.classes = BackgroundEntropy::apply(class_logits).sub(asked.mul(assigned.score).sum());
  terms.score_sum = assigned.score.sum();

  const at::Tensor sides = at::index(box_logits.permute({0, 3, 2, 1}),
                                     {assigned.image, assigned.point});  // [P, 4, bins]
  const at::Tensor points = anchors.points.t().index_select(0, assigned.point);
  const at::Tensor strides = anchors.strides.index_select(0, assigned.point).unsqueeze(1);
  const at::Tensor wanted = targets.box.index_select(0, assigned.target).div(strides);  // cells
  const at::Tensor boxes = boxes_from_distances(points, expected_distances(sides, 2));
  terms.box = complete_iou(boxes, wanted).neg().add(1).mul(assigned.score).sum();

  const double last_bin = static_cast<double>(sides.size(2) - 1);
  const at::Tensor distances = distances_from_boxes(points, wanted).clamp(0, last_bin - 0.01);
  terms.dfl = distribution_focal_loss(sides, distances).mul(assigned.score).sum();
  return terms;
}

}  // namespace

DetectionLoss detection_loss(const Logits& logits, const Targets& targets,
                             const LossOptions& options) {
  const Candidates candidates = find_candidates(targets, logits.anchors);
  const HeadTerms many =
      head_terms(logits.one2many, targets, candidates, logits.anchors, options.one2many);
  const HeadTerms one =
      head_terms(logits.one2one, targets, candidates, logits.anchors, options.one2one);
  const at::Tensor images = at::full_like(many.score_sum, logits.one2many.classes.size(0));
  at::Tensor sums = at::stack({many.score_sum, one.score_sum, images});
  if (options.sum_over_ranks) sums = options.sum_over_ranks(sums);
  sums = sums.clamp_min(1);
  const auto items = [&](const HeadTerms& terms, int64_t head) {
    return at::stack({terms.box.mul(options.box), terms.classes.mul(options.classes),
                      terms.dfl.mul(options.dfl)})
        .div(sums[head]);
  };
  const at::Tensor all = at::cat({items(many, 0), items(one, 1)});
  return {.total = all.sum().mul(sums[2]), .items = all.detach()};
}

}  // namespace yoloquant::train
