#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tensor/tensor.h"

namespace yoloquant::quant {

// Unlabelled images for calibration and reconstruction, letterboxed: float32 [N, 3, H, W], RGB in
// [0, 1]. Every pass gives the same images in the same order. They need not be in memory.
class CalibrationData {
 public:
  virtual ~CalibrationData() = default;

  virtual int64_t size() const = 0;  // images

  // Calls body(batch) for images [first, last) in order, `batch` at a time (the last may be
  // smaller). REQUIRES: 0 <= first <= last <= size(), batch >= 1.
  virtual void for_each_batch(int64_t first, int64_t last, int batch,
                              const std::function<void(const Tensor&)>& body) = 0;

  // All images.
  void for_each_batch(int batch, const std::function<void(const Tensor&)>& body) {
    for_each_batch(0, size(), batch, body);
  }
};

// Images in memory.
class MemoryCalibrationData : public CalibrationData {
 public:
  // [N, 3, H, W].
  explicit MemoryCalibrationData(Tensor images);

  using CalibrationData::for_each_batch;
  int64_t size() const override { return images_.dim(0); }
  void for_each_batch(int64_t first, int64_t last, int batch,
                      const std::function<void(const Tensor&)>& body) override;

 private:
  Tensor images_;
};

}  // namespace yoloquant::quant
