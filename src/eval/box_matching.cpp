#include "eval/box_matching.h"

#include <algorithm>
#include <cmath>

namespace yoloquant::eval {
namespace {

// bbIou of COCO's maskApi: a crowd's own area does not count.
double box_iou(const CocoDetection& d, const data::CocoAnnotation& g) {
  const double width = std::fmin(d.width + d.x, g.width + g.x) - std::fmax(d.x, g.x);
  if (width <= 0) return 0;
  const double height = std::fmin(d.height + d.y, g.height + g.y) - std::fmax(d.y, g.y);
  if (height <= 0) return 0;
  const double intersection = width * height;
  const double area = d.width * d.height;
  const double whole = g.is_crowd ? area : area + g.width * g.height - intersection;
  return intersection / whole;
}

}  // namespace

void BoxMatcher::compute_ious(std::span<const CocoDetection> all,
                              std::span<const data::CocoAnnotation* const> ground_truths) {
  ious_.resize(order_.size() * ground_truths.size());
  best_iou_.assign(order_.size(), 0);
  double* iou = ious_.data();
  for (size_t d = 0; d < order_.size(); ++d) {
    for (const data::CocoAnnotation* ground_truth : ground_truths) {
      *iou = box_iou(all[order_[d]], *ground_truth);
      best_iou_[d] = std::max(best_iou_[d], *iou);
      ++iou;
    }
  }
}

void BoxMatcher::match_area(std::span<const data::CocoAnnotation* const> ground_truths, size_t area,
                            std::span<MatchedDetection> detections) {
  const size_t count = ground_truths.size();
  ignored_.resize(count);
  ground_truth_order_.clear();
  for (size_t g = 0; g < count; ++g) {
    ignored_[g] = ground_truths[g]->is_crowd || !kAreaRanges[area].contains(ground_truths[g]->area);
    if (!ignored_[g]) ground_truth_order_.push_back(static_cast<uint32_t>(g));
  }
  for (size_t g = 0; g < count; ++g) {  // ignored ones last
    if (ignored_[g]) ground_truth_order_.push_back(static_cast<uint32_t>(g));
  }

  for (size_t t = 0; t < kIouThresholds; ++t) {
    const auto bit = static_cast<uint16_t>(1U << t);
    taken_.assign(count, 0);
    for (size_t d = 0; d < detections.size(); ++d) {
      if (best_iou_[d] < kIou[t]) continue;
      double best = std::min(kIou[t], 1 - 1e-10);
      const data::CocoAnnotation* match = nullptr;
      size_t match_index = 0;
      for (const uint32_t g : ground_truth_order_) {
        if (taken_[g] && !ground_truths[g]->is_crowd) continue;
        if (match != nullptr && !ignored_[match_index] && ignored_[g]) break;
        const double iou = ious_[d * count + g];
        if (iou < best) continue;
        best = iou;
        match = ground_truths[g];
        match_index = g;
      }
      if (match == nullptr) continue;
      taken_[match_index] = 1;
      MatchedDetection& detection = detections[d];
      const auto others = static_cast<uint16_t>(~bit);
      if (ignored_[match_index]) {
        detection.false_positive[area] &= others;
      } else if (match->id != 0) {  // COCOeval stores ids and takes 0 for "no match"
        detection.false_positive[area] &= others;
        detection.true_positive[area] |= bit;
      }
    }
  }
}

void BoxMatcher::match(std::span<const CocoDetection> all, std::span<const uint32_t> detections,
                       std::span<const data::CocoAnnotation* const> ground_truths, uint32_t image,
                       std::vector<MatchedDetection>* out) {
  order_.assign(detections.begin(), detections.end());
  std::ranges::stable_sort(order_,
                           [&](uint32_t a, uint32_t b) { return all[a].score > all[b].score; });
  if (order_.size() > kMaxDetections) order_.resize(kMaxDetections);

  const size_t first = out->size();
  for (size_t rank = 0; rank < order_.size(); ++rank) {
    const CocoDetection& detection = all[order_[rank]];
    MatchedDetection& matched = out->emplace_back();
    matched.score = detection.score;
    matched.image = image;
    matched.rank = static_cast<uint16_t>(rank);
    for (size_t area = 0; area < kAreas; ++area) {
      // Unmatched and outside of the range: ignored.
      const bool counts = kAreaRanges[area].contains(detection.width * detection.height);
      matched.false_positive[area] = counts ? kAllThresholds : 0;
    }
  }
  if (ground_truths.empty() || order_.empty()) return;
  compute_ious(all, ground_truths);
  if (*std::ranges::max_element(best_iou_) < kIou[0]) return;
  for (size_t area = 0; area < kAreas; ++area) {
    match_area(ground_truths, area, std::span(*out).subspan(first));
  }
}

}  // namespace yoloquant::eval
