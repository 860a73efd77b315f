#include "eval/precision_recall.h"

#include <algorithm>

namespace yoloquant::eval {
namespace {

void add_class(const ClassMatches& matches, OperatingCurve* sum) {
  double positives = 0;
  for (const auto& item : matches.positives) positives += item.count;
  double tp = 0;
  double fp = 0;
  size_t next = 0;
  for (size_t step = kConfSteps; step-- > 0;) {
    const double conf = static_cast<double>(step) / kConfSteps;
    for (; next < matches.detections.size() && matches.detections[next].score >= conf; ++next) {
      tp += matches.detections[next].true_positive & 1;
      fp += matches.detections[next].false_positive & 1;
    }
    // Nothing detected: nothing wrong either.
    const double precision = tp + fp > 0 ? tp / (tp + fp) : 1;
    const double recall = tp / positives;
    OperatingPoint& point = (*sum)[step];
    point.precision += precision;
    point.recall += recall;
    if (precision + recall > 0) point.f1 += 2 * precision * recall / (precision + recall);
  }
}

}  // namespace

OperatingCurve operating_curve(const MatchTable& matches) {
  OperatingCurve curve{};
  double classes = 0;
  for (const ClassMatches& item : matches.classes) {
    if (item.positives.empty()) continue;
    add_class(item, &curve);
    ++classes;
  }
  for (size_t step = 0; step < kConfSteps; ++step) {
    OperatingPoint& point = curve[step];
    point.conf = static_cast<double>(step) / kConfSteps;
    if (classes == 0) continue;
    point.precision /= classes;
    point.recall /= classes;
    point.f1 /= classes;
  }
  return curve;
}

OperatingPoint best_operating_point(const MatchTable& matches) {
  const OperatingCurve curve = operating_curve(matches);
  return *std::ranges::max_element(curve, {}, &OperatingPoint::f1);
}

}  // namespace yoloquant::eval
