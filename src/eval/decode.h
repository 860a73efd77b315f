#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/coco_dataset.h"
#include "data/letterbox.h"
#include "eval/coco_evaluator.h"
#include "eval/detection.h"

namespace yoloquant::eval {

struct DecodeOptions {
  float conf = 0.001F;           // scores must be above
  float iou = 0.7F;              // a lower-scored box of the same class overlapping more is dropped
  int64_t max_det = 300;         // an image
  int64_t pre_nms_topk = 30000;  // only the best candidates enter NMS
};

// All decoders take one image's output and return detections by falling score; equal scores keep
// the order of anchors, then classes. Scores are probabilities already: no sigmoid is applied
// here. NaN scores never pass. They throw Error when the sizes do not fit or an option is out of
// range.

// One-to-many head: `raw` is [4 + num_classes, anchors], boxes as center x, y, width, height, then
// class scores. Every pair of anchor and class is a candidate; class-aware NMS as Ultralytics'
// non_max_suppression(multi_label=True), whose class offset of 7680 pixels makes boxes of
// different classes never meet.
std::vector<Detection> decode_one2many(std::span<const float> raw, int64_t num_classes,
                                       const DecodeOptions& options = {});

// Anchor-based head of YOLOv5: `rows` is [boxes, 5 + num_classes] of center x, y, width, height,
// objectness and class scores, whose products with the objectness are the scores. Then as
// decode_one2many.
std::vector<Detection> decode_rows(std::span<const float> rows, int64_t num_classes,
                                   const DecodeOptions& options = {});

// One-to-one head, layout of decode_one2many, no NMS: the max_det anchors with the best class
// score, then the max_det best pairs of anchor and class of these (Ultralytics' v10postprocess).
// Scores of `conf` or less are dropped.
std::vector<Detection> decode_one2one(std::span<const float> raw, int64_t num_classes,
                                      const DecodeOptions& options = {});

// End-to-end model: `rows` is [n, 6] of x1, y1, x2, y2, score, class. Scores of `conf` or less are
// dropped, at most max_det are kept.
std::vector<Detection> decode_end2end(std::span<const float> rows, int64_t num_classes,
                                      const DecodeOptions& options = {});

// Detections on the image they came from: corners mapped back and clipped, class numbers replaced
// by the data set's category ids. Throws Error for a class the data set does not have.
void append_coco_detections(std::span<const Detection> detections, const data::Letterbox& letterbox,
                            int64_t image_id, std::span<const data::CocoCategory> categories,
                            std::vector<CocoDetection>* out);

}  // namespace yoloquant::eval
