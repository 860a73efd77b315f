#include "quant/image_calibration_data.h"

#include <algorithm>
#include <cstring>

namespace yoloquant::quant {

ImageCalibrationData::ImageCalibrationData(data::ImageList list, data::LoaderOptions options)
    : list_(std::move(list)), options_(options) {}

void ImageCalibrationData::for_each_batch(int64_t first, int64_t last, int batch,
                                          const std::function<void(const Tensor&)>& body) {
  data::PreparedImages images(data::ImageList(list_.begin() + first, list_.begin() + last),
                              options_);
  data::PreparedImage image;
  Tensor tensor;
  for (int64_t i = first; i < last; i += batch) {
    const int64_t count = std::min<int64_t>(batch, last - i);
    const Shape shape{count, 3, options_.input_height, options_.input_width};
    if (tensor.shape() != shape) tensor = Tensor(DType::kFloat32, shape);
    const auto values = tensor.mutable_data<float>();
    size_t next = 0;
    while (next < values.size() && images.next(image)) {
      std::ranges::copy(image.input, values.begin() + static_cast<ptrdiff_t>(next));
      next += image.input.size();
    }
    body(tensor);
  }
}

}  // namespace yoloquant::quant
