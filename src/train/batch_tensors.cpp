#include "train/batch_tensors.h"

#include <ATen/ops/from_blob.h>
#include <c10/core/Device.h>

#include <vector>

#include "base/error.h"
#include "exec/convert.h"

namespace yoloquant::train {

namespace {

// A view of host memory that is only read.
template <typename T>
at::Tensor view(std::span<const T> values, const Shape& shape, at::ScalarType type) {
  if (static_cast<size_t>(element_count(shape)) != values.size()) {
    fail("a batch of images has {} values instead of {}", values.size(), shape_string(shape));
  }
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): from_blob has no form for constants.
  return at::from_blob(const_cast<T*>(values.data()), shape, at::TensorOptions(type));
}

}  // namespace

at::Tensor images_on_device(const data::TrainBatch& batch, const std::string& device) {
  const at::Tensor bytes =
      view<uint8_t>(batch.pixels, {batch.count, 3, batch.size, batch.size}, at::kByte);
  return bytes.to(c10::Device(device)).to(at::kFloat).div_(255);
}

at::Tensor images_on_device(std::span<const float> images, int64_t count, int64_t size,
                            const std::string& device) {
  return view<float>(images, {count, 3, size, size}, at::kFloat).to(c10::Device(device));
}

Targets targets_on_device(std::span<const data::BatchLabel> labels, const BatchExtent& extent,
                          const std::string& device) {
  const auto count = static_cast<int64_t>(labels.size());
  std::vector<int64_t> image;
  std::vector<int64_t> label;
  std::vector<float> box;
  const auto pixels = static_cast<float>(extent.size);
  for (const data::BatchLabel& object : labels) {
    if (object.image < 0 || object.image >= extent.images || object.class_id < 0 ||
        object.class_id >= extent.classes) {
      fail("a label of class {} on image {}: the batch has {} images, the model {} classes",
           object.class_id, object.image, extent.images, extent.classes);
    }
    image.push_back(object.image);
    label.push_back(object.class_id);
    const float x = object.x * pixels;
    const float y = object.y * pixels;
    const float half_width = object.width * pixels / 2;
    const float half_height = object.height * pixels / 2;
    box.insert(box.end(), {x - half_width, y - half_height, x + half_width, y + half_height});
  }
  const auto to_device = [&](const Tensor& host) {
    return exec::view_of(host).to(c10::Device(device), /*non_blocking=*/false, /*copy=*/true);
  };
  return {.image = to_device(Tensor::from<int64_t>({count}, image)),
          .label = to_device(Tensor::from<int64_t>({count}, label)),
          .box = to_device(Tensor::from<float>({count, 4}, box))};
}

}  // namespace yoloquant::train
