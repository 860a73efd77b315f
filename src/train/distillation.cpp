#include "train/distillation.h"

#include <ATen/ops/zeros.h>

#include "quant/teacher_loss.h"

namespace yoloquant::train {

namespace {

at::Tensor head_loss(const HeadLogits& student, const HeadLogits& teacher, int64_t image_pixels) {
  quant::TeacherTaps taps;  // no features
  taps.head.detection = true;
  return quant::teacher_loss(taps, {student.boxes, student.classes},
                             {teacher.boxes.detach(), teacher.classes.detach()}, image_pixels)
      .total;
}

}  // namespace

at::Tensor distillation_loss(const Logits& student, const Logits& teacher, int64_t image_pixels,
                             const DistillationOptions& options) {
  at::Tensor total = at::zeros({}, student.one2many.boxes.options().dtype(at::kFloat));
  const auto add = [&](const HeadLogits& s, const HeadLogits& t, double weight) {
    if (weight != 0) total = total.add(head_loss(s, t, image_pixels), weight);
  };
  add(student.one2many, teacher.one2many, options.one2many);
  add(student.one2one, teacher.one2one, options.one2one);
  return total.mul(options.weight * static_cast<double>(student.one2many.boxes.size(0)));
}

}  // namespace yoloquant::train
