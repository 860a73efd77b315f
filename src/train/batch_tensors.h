#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

#include "data/train_loader.h"
#include "train/assigner.h"

// Batches of the loader as tensors on the model's device.
namespace yoloquant::train {

// [count, 3, size, size] float32 in [0, 1], as TrainBatch::to_float gives. Crosses to the device as
// bytes.
at::Tensor images_on_device(const data::TrainBatch& batch, const std::string& device);
// Of values [count, 3, size, size] in host memory; on the CPU a view of them.
at::Tensor images_on_device(std::span<const float> images, int64_t count, int64_t size,
                            const std::string& device);

// Of `images` images with sides of `size` pixels, `classes` classes. Throws Error for a label of
// another image or class.
struct BatchExtent {
  int64_t images = 0;
  int64_t classes = 0;
  int64_t size = 0;
};
Targets targets_on_device(std::span<const data::BatchLabel> labels, const BatchExtent& extent,
                          const std::string& device);

}  // namespace yoloquant::train
