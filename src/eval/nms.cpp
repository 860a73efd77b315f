#include "eval/nms.h"

#include <algorithm>

namespace yoloquant::eval {

Nms::Nms(size_t num_classes, double iou, size_t max_kept)
    : iou_(iou), max_kept_(max_kept), of_class_(num_classes) {}

void Nms::add(const Detection& detection) {
  const KeptBox box{detection.x1, detection.y1, detection.x2, detection.y2,
                    (double{detection.x2} - detection.x1) * (double{detection.y2} - detection.y1)};
  std::vector<KeptBox>& rivals = of_class_[static_cast<size_t>(detection.class_id)];
  for (const KeptBox& rival : rivals) {
    const double width = std::min(box.x2, rival.x2) - std::max(box.x1, rival.x1);
    const double height = std::min(box.y2, rival.y2) - std::max(box.y1, rival.y1);
    if (width <= 0 || height <= 0) continue;
    const double intersection = width * height;
    constexpr double kEpsilon = 1e-7;  // Ultralytics' guard against empty boxes
    if (intersection / (rival.area + box.area - intersection + kEpsilon) > iou_) return;
  }
  rivals.push_back(box);
  kept_.push_back(detection);
}

}  // namespace yoloquant::eval
