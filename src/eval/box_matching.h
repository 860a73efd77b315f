#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/coco_dataset.h"
#include "eval/coco_evaluator.h"
#include "eval/coco_thresholds.h"

namespace yoloquant::eval {

// A detection after matching: bit t of each mask is for IoU threshold t, one mask an area range.
struct MatchedDetection {
  double score = 0;
  uint32_t image = 0;
  uint16_t rank = 0;  // within image and category, by falling score
  std::array<uint16_t, kAreas> true_positive{};
  std::array<uint16_t, kAreas> false_positive{};
};

// Matches the detections of one image and category with its ground truths, as
// COCOeval.evaluateImg: the IoU matrix once, then each area range and threshold.
class BoxMatcher {
 public:
  // Appends the best kMaxDetections of `detections` to `out`, by falling score (ties: in the order
  // given). `detections` are indices into `all`.
  void match(std::span<const CocoDetection> all, std::span<const uint32_t> detections,
             std::span<const data::CocoAnnotation* const> ground_truths, uint32_t image,
             std::vector<MatchedDetection>* out);

 private:
  void compute_ious(std::span<const CocoDetection> all,
                    std::span<const data::CocoAnnotation* const> ground_truths);
  void match_area(std::span<const data::CocoAnnotation* const> ground_truths, size_t area,
                  std::span<MatchedDetection> detections);

  std::vector<uint32_t> order_;   // detections by falling score
  std::vector<double> ious_;      // [detection, ground truth]
  std::vector<double> best_iou_;  // per detection
  std::vector<uint32_t> ground_truth_order_;
  std::vector<uint8_t> ignored_;
  std::vector<uint8_t> taken_;
};

}  // namespace yoloquant::eval
