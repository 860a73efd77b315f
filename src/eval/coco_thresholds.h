#pragma once

#include <array>
#include <cstddef>

#include "eval/coco_evaluator.h"

namespace yoloquant::eval {

// numpy.linspace(.5, .95, 10) and numpy.linspace(0, 1, 101) to the last bit: step times index.
constexpr std::array<double, kIouThresholds> make_iou_thresholds() {
  std::array<double, kIouThresholds> values{};
  const double step = (0.95 - 0.5) / 9;
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) * step + 0.5;
  values.back() = 0.95;
  return values;
}
constexpr std::array<double, kRecallThresholds> make_recall_thresholds() {
  std::array<double, kRecallThresholds> values{};
  const double step = 1.0 / 100;
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) * step;
  values.back() = 1.0;
  return values;
}
inline constexpr auto kIou = make_iou_thresholds();
inline constexpr auto kRecall = make_recall_thresholds();

inline constexpr uint16_t kAllThresholds = (1U << kIouThresholds) - 1;

// numpy.spacing(1), which COCOeval adds to precision's denominator.
inline constexpr double kSpacing = 2.220446049250313e-16;

inline constexpr size_t kAreas = 4;  // all, small, medium, large
struct AreaRange {
  double low;
  double high;
  constexpr bool contains(double area) const { return !(area < low || area > high); }
};
inline constexpr std::array<AreaRange, kAreas> kAreaRanges{
    {{0, 1e5 * 1e5}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e5 * 1e5}}};
inline constexpr size_t kMaxDetections = 100;  // an image and category

// Mean over the recall thresholds of the precision envelope, for points of falling score. With
// `precision[i]` and `recall_count[i]` (true positives so far) at each true positive, of
// `positives` ground truths. As COCOeval.accumulate: the first point whose recall reaches the
// threshold, then the best precision from there on; 0 where recall is never reached.
double average_precision(std::span<const double> precision, std::span<const double> recall_count,
                         double positives);

}  // namespace yoloquant::eval
