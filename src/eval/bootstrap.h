#pragma once

#include <cstdint>

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

// Resamples the images with replacement (Efron 1979) and recomputes COCO's mAP for each draw as if
// a drawn image occurred that many times. Draws without any ground truth are repeated. Throws Error
// when `matches` is empty or no image has ground truth.
BootstrapIntervals bootstrap(const MatchTable& matches, const BootstrapOptions& options = {});

// b minus a, both on the same draws, so that what images have in common cancels. Throws Error
// unless both were evaluated on the same images and categories.
BootstrapIntervals bootstrap_difference(const MatchTable& a, const MatchTable& b,
                                        const BootstrapOptions& options = {});

}  // namespace yoloquant::eval
