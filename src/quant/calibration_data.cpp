#include "quant/calibration_data.h"

#include <algorithm>

namespace yoloquant::quant {

MemoryCalibrationData::MemoryCalibrationData(Tensor images) : images_(std::move(images)) {
  if (images_.rank() != 4 || images_.dtype() != DType::kFloat32) {
    fail("calibration images must be float32 [N, 3, H, W], not {} {}", dtype_name(images_.dtype()),
         shape_string(images_.shape()));
  }
}

void MemoryCalibrationData::for_each_batch(int64_t first, int64_t last, int batch,
                                           const std::function<void(const Tensor&)>& body) {
  Shape shape = images_.shape();
  shape[0] = 1;
  const int64_t image = element_count(shape);
  const auto values = images_.data<float>();
  for (int64_t i = first; i < last; i += batch) {
    shape[0] = std::min<int64_t>(batch, last - i);
    body(Tensor::from(shape, values.subspan(i * image, shape[0] * image)));
  }
}

}  // namespace yoloquant::quant
