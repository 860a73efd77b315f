#pragma once

#include <cstddef>
#include <vector>

#include "eval/detection.h"

namespace yoloquant::eval {

// Greedy class-aware non-maximum suppression of detections that come by falling score: one is kept
// when no kept one of its class overlaps it by more than `iou`. At most `max_kept` are kept, so
// the work is bounded by candidates * max_kept, not by candidates squared.
class Nms {
 public:
  Nms(size_t num_classes, double iou, size_t max_kept);

  bool full() const { return kept_.size() == max_kept_; }
  // REQUIRES: !full(), class_id in [0, num_classes), score not above those before.
  void add(const Detection& detection);
  std::vector<Detection> take() { return std::move(kept_); }

 private:
  struct KeptBox {
    double x1, y1, x2, y2, area;
  };

  double iou_;
  size_t max_kept_;
  std::vector<Detection> kept_;
  std::vector<std::vector<KeptBox>> of_class_;
};

}  // namespace yoloquant::eval
