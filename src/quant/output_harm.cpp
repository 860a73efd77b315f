#include "quant/output_harm.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/ge.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "exec/convert.h"
#include "graph/detection_head.h"

namespace yoloquant::quant {
namespace {

constexpr double kLeastWeight = 0.011;  // an anchor point below is background

// Probabilities below count as this one. There are a million pairs of anchor point and class in an
// image: a shift from 1e-6 to 1e-4 would outweigh all detections and change none.
constexpr double kLeastProbability = 0.01;
const double kLeastLogit = std::log(kLeastProbability / (1 - kLeastProbability));

at::Tensor floored(const at::Tensor& logits) { return at::clamp_min(logits, kLeastLogit); }

double sum_of(const at::Tensor& x) { return at::sum(x, at::kDouble).item<double>(); }

double square_sum(const at::Tensor& x) { return sum_of(at::mul(x, x)); }

at::Tensor signs_like(const at::Tensor& x, Random& random) {
  std::vector<float> signs(static_cast<size_t>(x.numel()));
  uint64_t bits = 0;
  for (size_t i = 0; i < signs.size(); ++i) {
    if (i % 64 == 0) bits = random.next();
    signs[i] = (bits & 1) != 0 ? 1.0F : -1.0F;
    bits >>= 1;
  }
  return exec::view_of(Tensor::from<float>(x.sizes().vec(), signs))
      .to(x.device(), /*non_blocking=*/false, /*copy=*/true);
}

// harm_probe of one detection head.
at::Tensor head_probe(const at::Tensor& box_logits, const at::Tensor& class_logits,
                      Random& random) {
  const at::Tensor boxes = box_logits.detach();
  const at::Tensor p = at::sigmoid(class_logits.detach());
  const at::Tensor counts = at::ge(p, kLeastProbability);
  // The curvature is p (1 - p), but errors of a sure class are not small: when its logit falls by
  // much, the divergence is nearer to p times the fall.
  const at::Tensor class_root = at::sqrt(p).mul_(counts);
  const at::Tensor score = at::amax(p, {1});  // [N, A]
  const at::Tensor weight = score.mul(at::ge(score, kLeastWeight)).div_(4);
  // A square root of diag(q) - q q' for each side's distribution q [N, bins, 4, A].
  const at::Tensor root = at::sqrt(at::softmax(boxes, 1));
  const at::Tensor signs = signs_like(boxes, random);
  const at::Tensor along = at::mul(root, signs).sum(at::IntArrayRef({1}), /*keepdim=*/true);
  const at::Tensor box_root =
      root.mul(signs.sub(root.mul(along))).mul_(at::sqrt(weight).unsqueeze(1).unsqueeze(1));
  return at::mul(box_logits, box_root)
      .sum()
      .add(at::mul(class_logits, class_root.mul(signs_like(p, random))).sum());
}

}  // namespace

WatchedValues watched_values(const graph::Graph& graph) {
  WatchedValues heads{.detection = true, .values = {}, .names = {}};
  WatchedValues outputs{.detection = false, .values = graph.outputs, .names = {}};
  for (const graph::ValueId output : graph.outputs) {
    const std::string& name = graph.values[output].name;
    outputs.names.push_back(name);
    const auto head = graph::detection_logits(graph, output);
    if (!head) {
      heads.detection = false;
      continue;
    }
    const std::string prefix = graph.outputs.size() > 1 ? name + "." : "";
    heads.values.insert(heads.values.end(), {head->boxes, head->classes});
    heads.names.insert(heads.names.end(), {prefix + "boxes", prefix + "classes"});
  }
  return heads.detection ? heads : outputs;
}

at::Tensor harm_probe(const WatchedValues& watched, const std::vector<at::Tensor>& values,
                      Random& random) {
  at::Tensor total = at::zeros({}, values.at(0).options());
  if (watched.detection) {
    for (size_t i = 0; i < values.size(); i += 2) {
      total = total.add(head_probe(values[i], values.at(i + 1), random));
    }
    return total;
  }
  for (const at::Tensor& value : values) {
    const double power = square_sum(value.detach());
    if (power > 0)
      total = total.add(at::mul(value, signs_like(value, random)).sum().div(std::sqrt(power)));
  }
  return total;
}

double OutputHarm::box_harm() const { return weight_ > 0 ? box_ / weight_ : 0; }

double OutputHarm::class_harm() const { return weight_ > 0 ? class_ / weight_ : 0; }

double OutputHarm::harm() const {
  if (detection_) return box_harm() + class_harm();
  double sum = 0;
  for (const double error : relative_errors()) sum += error;
  return error_.empty() ? 0 : sum / static_cast<double>(error_.size());
}

std::vector<double> OutputHarm::relative_errors() const {
  std::vector<double> result;
  for (size_t i = 0; i < error_.size(); ++i) {
    result.push_back(power_[i] > 0 ? error_[i] / power_[i] : 0);
  }
  return result;
}

void OutputHarm::add(const OutputHarm& other) {
  detection_ = detection_ || other.detection_;
  box_ += other.box_;
  class_ += other.class_;
  weight_ += other.weight_;
  error_.resize(other.error_.size());
  power_.resize(other.power_.size());
  for (size_t i = 0; i < error_.size(); ++i) {
    error_[i] += other.error_[i];
    power_[i] += other.power_[i];
  }
}

struct HarmMeter::Reference {
  at::Tensor value;
  double power = 0;
};

// The float model's side of one detection head.
struct HarmMeter::Head {
  at::Tensor logits;  // of the classes
  at::Tensor probability;
  at::Tensor softplus;
  // Anchor points that count, and there weight [n] and log-probabilities [bins, 4, n].
  at::Tensor anchors;
  at::Tensor anchor_weight;
  at::Tensor log_probability;
  double weight = 0;
};

namespace {

// Of the anchor points that count. A batch is seen as one image with N times as many.
at::Tensor log_probabilities(const at::Tensor& boxes, const at::Tensor& anchors) {
  const at::Tensor by_anchor = boxes.movedim(0, -2).flatten(-2);  // [bins, 4, N * A]
  return at::log_softmax(by_anchor.index_select(2, anchors), 0);
}

}  // namespace

HarmMeter::HarmMeter(const WatchedValues& watched, const std::vector<at::Tensor>& reference) {
  const c10::InferenceMode guard;
  for (const at::Tensor& value : reference) {
    const double power = square_sum(value);
    if (!std::isfinite(power)) fail("the float model's outputs are not finite");
    references_.push_back({.value = value, .power = power});
  }
  if (!watched.detection) return;
  for (size_t i = 0; i < reference.size(); i += 2) {
    Head& head = heads_.emplace_back();
    head.logits = floored(reference.at(i + 1));
    head.probability = at::sigmoid(head.logits);
    head.softplus = at::softplus(head.logits);
    const at::Tensor score = std::get<0>(head.probability.max(1)).flatten();  // [N * A]
    head.anchors = at::nonzero(at::ge(score, kLeastWeight)).flatten();
    head.anchor_weight = score.index_select(0, head.anchors);
    head.log_probability = log_probabilities(reference[i], head.anchors);
    head.weight = sum_of(head.anchor_weight);
  }
}

HarmMeter::~HarmMeter() = default;

OutputHarm HarmMeter::compare(const std::vector<at::Tensor>& values) const {
  const c10::InferenceMode guard;
  OutputHarm harm;
  harm.detection_ = !heads_.empty();
  for (size_t i = 0; i < references_.size(); ++i) {
    harm.error_.push_back(square_sum(at::sub(values.at(i), references_[i].value)));
    harm.power_.push_back(references_[i].power);
  }
  for (size_t i = 0; i < heads_.size(); ++i) {
    const Head& head = heads_[i];
    // KL of two yes-or-no distributions with logits x and y: softplus(y) - softplus(x) - p (y - x).
    const at::Tensor logits = floored(values[2 * i + 1]);
    const at::Tensor shift = at::mul(head.probability, at::sub(logits, head.logits));
    // Not negative but for rounding.
    harm.class_ += std::max(sum_of(at::softplus(logits).sub_(head.softplus).sub_(shift)), 0.0);
    if (head.anchors.numel() > 0) {
      const at::Tensor log_q = log_probabilities(values[2 * i], head.anchors);
      const at::Tensor ratio = at::sub(head.log_probability, log_q);
      const at::Tensor divergence = at::sum(at::mul(head.log_probability.exp(), ratio), {0});
      harm.box_ += std::max(sum_of(at::mul(divergence.mean(0), head.anchor_weight)), 0.0);
    }
    harm.weight_ += head.weight;
  }
  return harm;
}

}  // namespace yoloquant::quant
