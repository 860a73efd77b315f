#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/coco_dataset.h"
#include "eval/bootstrap.h"
#include "eval/coco_evaluator.h"
#include "eval/detection.h"

// Fidelity: how far a candidate model sees what a reference model sees, measured without labels.
// The reference's confident detections are taken for ground truth, and the candidate's detections
// (all of them, also those of low score) are scored against them as COCO does.
namespace yoloquant::eval {

struct FidelityOptions {
  // Detections of the reference with at least this score are its ground truth.
  double reference_score = 0.25;
  int resamples = 1000;  // 0: no interval
  uint64_t seed = 0;
  double confidence = 0.95;
  int threads = 1;  // <= 0: all; the result does not depend on it
};

// Figures of all images, of one class or of one image. Undefined ones are -1, as COCO has it: where
// the reference has no confident detection there is nothing to be true to.
struct FidelityFigures {
  double fidelity = -1;     // mAP50-95
  double fidelity_50 = -1;  // mAP50
  int64_t reference_boxes = 0;
  // At IoU .5, of the boxes that both models give at the reference's score or above: what the
  // candidate does not find, and what it finds beside.
  int64_t missed = 0;
  int64_t extra = 0;
};

struct ClassFidelity {
  int64_t category_id = 0;
  std::string name;
  FidelityFigures figures;
};

// An image by itself: the mean over the classes that the reference sees in it of their average
// precision. Boxes of other classes show in `extra` alone.
struct ImageFidelity {
  int64_t image_id = 0;
  FidelityFigures figures;
};

struct Fidelity {
  // Over the classes that the reference sees somewhere. Where it sees nothing in an image, what the
  // candidate finds there counts as false positives of those classes, as COCO counts images without
  // ground truth.
  FidelityFigures figures;
  // Mean of the images' own fidelities, where defined. One box, the only one of its class, weighs
  // as much as any box here; in `figures` it is a whole class.
  double image_mean = -1;
  // Nothing without resamples or without reference boxes.
  std::optional<BootstrapIntervals> intervals;
  // Worst first; undefined ones follow, those with most extra boxes first.
  std::vector<ClassFidelity> classes;
  std::vector<ImageFidelity> images;
  int64_t num_images = 0;
  int64_t images_without_reference = 0;  // where the reference has no confident detection
};

// Detections in image pixels, as in COCO's result files, on the images `image_ids` and of
// `categories`; others do not count. Boxes without area can match nothing and are left out on both
// sides, and of the reference's boxes the best 100 an image and category count, as COCO counts no
// more of the candidate's: so a model has a fidelity of 1 to itself. Throws Error for an id that
// appears twice and for scores or boxes that are not finite.
Fidelity measure_fidelity(std::span<const CocoDetection> reference,
                          std::span<const CocoDetection> candidate,
                          std::span<const data::CocoCategory> categories,
                          std::span<const int64_t> image_ids, const FidelityOptions& options = {});

// Detections of each image, corners in any pixels that both models share (the letterboxed input's
// when both take the same size). Image i has the id i; `class_names` names the classes. Throws
// Error unless both lists are of the same images, and for a class without a name.
Fidelity measure_fidelity(std::span<const std::vector<Detection>> reference,
                          std::span<const std::vector<Detection>> candidate,
                          std::span<const std::string> class_names,
                          const FidelityOptions& options = {});

// Class i under the id i.
std::vector<data::CocoCategory> class_categories(std::span<const std::string> class_names);

}  // namespace yoloquant::eval
