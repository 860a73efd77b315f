#pragma once

#include <array>
#include <cstddef>

#include "eval/coco_evaluator.h"

namespace yoloquant::eval {

// Precision and recall at one score threshold, IoU .5, means over the classes with ground truth.
struct OperatingPoint {
  double conf = 0;
  double precision = 0;
  double recall = 0;
  double f1 = 0;  // mean over classes of 2 P R / (P + R)
};

inline constexpr size_t kConfSteps = 1000;
using OperatingCurve = std::array<OperatingPoint, kConfSteps>;

// The curve over score thresholds 0, .001, ... .999. A detection counts from its score on. All zero
// when no class has ground truth.
OperatingCurve operating_curve(const MatchTable& matches);

// Its point of best F1, the lowest threshold of several: where Ultralytics reads
// metrics/precision(B) and metrics/recall(B) (ap_per_class; there F1 is smoothed first).
OperatingPoint best_operating_point(const MatchTable& matches);

}  // namespace yoloquant::eval
