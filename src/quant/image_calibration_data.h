#pragma once

#include <cstdint>
#include <functional>

#include "data/image_list.h"
#include "data/prepared_images.h"
#include "quant/calibration_data.h"

namespace yoloquant::quant {

// Image files: read, decoded and letterboxed anew at each pass, on threads beside the model's.
// Memory is that of a few images.
class ImageCalibrationData : public CalibrationData {
 public:
  ImageCalibrationData(data::ImageList list, data::LoaderOptions options);

  using CalibrationData::for_each_batch;
  int64_t size() const override { return static_cast<int64_t>(list_.size()); }
  // The batch that `body` gets is overwritten by the next unless it is copied.
  void for_each_batch(int64_t first, int64_t last, int batch,
                      const std::function<void(const Tensor&)>& body) override;

 private:
  data::ImageList list_;
  data::LoaderOptions options_;
};

}  // namespace yoloquant::quant
