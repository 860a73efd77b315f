#include "pipeline/output_form.h"

#include <algorithm>

namespace yoloquant::pipeline {
namespace {

// Anchor boxes of YOLOv5 up to this stride; -1 when the size is not known.
int64_t anchor_boxes(const Shape& input, int64_t last_stride) {
  if (input.size() != 4 || input[2] <= 0 || input[3] <= 0) return -1;
  int64_t cells = 0;
  for (int64_t stride = 8; stride <= last_stride; stride *= 2) {
    cells += (input[2] / stride) * (input[3] / stride);
  }
  return 3 * cells;
}

}  // namespace

OutputForm output_form(const Shape& output, const Shape& input) {
  if (output.size() != 3) return OutputForm::kOther;
  const bool one_a_box = output[1] > 0 && (output[1] == anchor_boxes(input, 32) ||
                                           output[1] == anchor_boxes(input, 64));
  const bool unknown_rows = output[1] < 0 && output[2] > 6;
  if (output[2] > 5 && (one_a_box || unknown_rows)) return OutputForm::kRows;
  if (output[2] == 6) return OutputForm::kEndToEnd;
  return output[1] < 0 || output[1] > 4 ? OutputForm::kRaw : OutputForm::kOther;
}

int64_t class_count_of(OutputForm form, const Shape& output) {
  if (form == OutputForm::kRaw) return std::max<int64_t>(output[1] - 4, 0);
  if (form == OutputForm::kRows) return output[2] - 5;
  return 0;
}

}  // namespace yoloquant::pipeline
