#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/coco_dataset.h"

namespace yoloquant::eval {

// A detection as COCO's result files have it.
struct CocoDetection {
  int64_t image_id = 0;
  int32_t category_id = 0;
  // Left, top, width, height in image pixels.
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
  double score = 0;
};

inline constexpr size_t kIouThresholds = 10;      // .50, .55, ... .95
inline constexpr size_t kRecallThresholds = 101;  // 0, .01, ... 1

// The figures of COCOeval.summarize for boxes, in its order; -1 where nothing is defined (no ground
// truth of that kind).
struct CocoFigures {
  double ap = -1;
  double ap50 = -1;
  double ap75 = -1;
  double ap_small = -1;
  double ap_medium = -1;
  double ap_large = -1;
  double ar1 = -1;
  double ar10 = -1;
  double ar100 = -1;
  double ar_small = -1;
  double ar_medium = -1;
  double ar_large = -1;

  std::array<double, 12> as_array() const {
    return {ap,  ap50, ap75,  ap_small, ap_medium, ap_large,
            ar1, ar10, ar100, ar_small, ar_medium, ar_large};
  }
};

// One category's part, for tables.
struct ClassFigures {
  int64_t category_id = 0;
  std::string name;
  int64_t num_ground_truths = 0;  // without crowds
  int64_t num_detections = 0;
  CocoFigures figures;
};

// What a detection counts as, at each IoU threshold (bit t), all areas, 100 detections an image and
// category. Neither bit is set where it is ignored (matched to a crowd).
struct MatchRecord {
  uint32_t image = 0;  // index into MatchTable::image_ids
  uint16_t true_positive = 0;
  uint16_t false_positive = 0;
  float score = 0;
};

struct ClassMatches {
  std::vector<MatchRecord> detections;  // by falling score; ties as COCOeval sorts them
  // Images with ground truth that counts, and how much of it.
  struct Positives {
    uint32_t image = 0;
    uint32_t count = 0;
  };
  std::vector<Positives> positives;
};

// All matches of an evaluation: what resampling and precision-recall curves need.
struct MatchTable {
  std::vector<int64_t> image_ids;
  std::vector<ClassMatches> classes;  // in the order of the data set's categories
};

struct CocoResult {
  CocoFigures figures;
  std::vector<ClassFigures> classes;
  int64_t num_images = 0;
  int64_t num_detections = 0;  // on the evaluated images, in known categories
  MatchTable matches;          // empty unless asked for
};

struct CocoOptions {
  int threads = 1;  // <= 0: all; the result does not depend on it
  bool keep_matches = false;
};

// COCO's box evaluation (pycocotools' COCOeval with iouType "bbox" and its default parameters):
// equal figures, including its treatment of crowds, areas, ties and empty categories. As there, the
// annotations' `ignore` is not used, a detection counts as unmatched when the id of its ground
// truth is 0, and detections of unknown categories do not count.
//
// `image_ids` is the subset to evaluate (any order); detections on other images of the data set are
// left out. Throws Error for an image id that is not in the data set and for scores or boxes that
// are not finite.
CocoResult evaluate_coco(const data::CocoDataset& dataset, std::span<const int64_t> image_ids,
                         std::span<const CocoDetection> detections,
                         const CocoOptions& options = {});

}  // namespace yoloquant::eval
