#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace yoloquant::quant {

// Counts of floats in equal bins, for a stream of unknown range in fixed memory. The bin width is a
// power of two and bin i holds [i * width, (i + 1) * width), so 0 is always an edge. When a value
// does not fit, the width doubles and pairs of bins merge, which loses no count. The result
// therefore depends on the values alone: not on their order, grouping or threads.
class Histogram {
 public:
  static constexpr int kBins = 8192;  // on either side of 0; at least half of one side is in use

  // REQUIRES: values are finite and none is larger than `magnitude` in absolute value.
  void add(std::span<const float> values, float magnitude);
  void merge(const Histogram& other);

  uint64_t total() const { return total_; }
  double width() const;  // of a bin

  // Bins that hold something, by rising value.
  struct Bin {
    double low;  // the bin is [low, low + width())
    uint64_t count;
  };
  std::vector<Bin> bins() const;

 private:
  void fit(float magnitude);
  void coarsen(int exponent);

  int exponent_ = -1000;          // width is 2^exponent; none yet
  std::vector<uint64_t> counts_;  // bin i at index i + kBins; empty until the first value
  uint64_t total_ = 0;
};

}  // namespace yoloquant::quant
