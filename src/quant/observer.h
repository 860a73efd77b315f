#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/histogram.h"

namespace yoloquant::quant {

// What calibration remembers of one activation: the exact smallest and largest value, their
// means over the images, and a histogram of a fixed sample of each image. Memory does not grow with
// the number of images.
class ActivationObserver {
 public:
  // At most about this many values of an image go into the histogram, spread evenly at random but
  // always the same places.
  static constexpr size_t kSamplesPerImage = 32768;

  // The activation of one image, in memory order. Throws Error for NaN and infinity.
  // `with_histogram` false keeps the minimum and maximum only.
  void observe(std::span<const float> image, bool with_histogram = true);
  // As if this had seen what `other` saw.
  void merge(const ActivationObserver& other);

  bool empty() const { return count_ == 0; }
  uint64_t count() const { return count_; }  // values seen
  float min() const { return min_; }
  float max() const { return max_; }
  // Means over the images of each one's smallest and largest value.
  double mean_min() const { return images_ == 0 ? 0 : min_sum_ / static_cast<double>(images_); }
  double mean_max() const { return images_ == 0 ? 0 : max_sum_ / static_cast<double>(images_); }
  const Histogram& histogram() const { return histogram_; }

 private:
  float min_ = 0;
  float max_ = 0;
  uint64_t count_ = 0;
  // Sums of floats of like size are exact in double, whatever the order.
  double min_sum_ = 0;
  double max_sum_ = 0;
  uint64_t images_ = 0;
  Histogram histogram_;
};

}  // namespace yoloquant::quant
