#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "train/distillation_options.h"
#include "train/trainable_graph.h"

namespace yoloquant::train {

// How far a student's logits are from a teacher's, the float model's on the same images, times the
// images of the batch as detection_loss is: quant::teacher_loss of each head (Hinton et al. 2015
// with the class scores as yes or no each; the box distributions as in Zheng et al. 2022,
// "Localization Distillation"). A differentiable scalar; the teacher gets no gradient.
// `image_pixels`: height times width of an image.
at::Tensor distillation_loss(const Logits& student, const Logits& teacher, int64_t image_pixels,
                             const DistillationOptions& options = {});

}  // namespace yoloquant::train
