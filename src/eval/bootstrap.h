#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "eval/coco_evaluator.h"

namespace yoloquant::eval {

struct BootstrapOptions {
  int resamples = 1000;
  uint64_t seed = 0;
  double confidence = 0.95;
  int threads = 1;  // <= 0: all; the result does not depend on it
};

// A figure with its percentile interval and standard error over the resamples.
struct Interval {
  double estimate = 0;  // on the images themselves
  double low = 0;
  double high = 0;
  double standard_error = 0;
};

struct BootstrapIntervals {
  Interval map_50_95;
  Interval map_50;
};

// mAP with image i (of matches.image_ids) counted weights[i] times; nothing when no image with
// ground truth has a weight. REQUIRES: one weight an image; throws Error otherwise.
struct WeightedMap {
  double map_50_95 = 0;
  double map_50 = 0;
};
std::optional<WeightedMap> weighted_map(const MatchTable& matches,
                                        std::span<const uint32_t> weights);

// Resamples the images with replacement (Efron 1979) and recomputes COCO's mAP for each draw as if
// a drawn image occurred that many times. Draws without any ground truth are repeated. Throws Error
// when `matches` is empty or no image has ground truth.
BootstrapIntervals bootstrap(const MatchTable& matches, const BootstrapOptions& options = {});

// b minus a, both on the same draws, so that what images have in common cancels. Throws Error
// unless both were evaluated on the same images and categories.
BootstrapIntervals bootstrap_difference(const MatchTable& a, const MatchTable& b,
                                        const BootstrapOptions& options = {});

}  // namespace yoloquant::eval
