#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "graph/graph.h"
#include "quant/output_harm.h"

namespace yoloquant::quant {

// Which values of a model a student is compared with its teacher at.
struct TeacherTaps {
  std::vector<graph::ValueId> features;  // outputs of the modules with more than one conv
  std::vector<double> weights;           // of the features; the first counts half
  WatchedValues head;                    // logits of boxes and classes; or the outputs

  std::vector<graph::ValueId> values() const;  // features, then the head's
};
TeacherTaps find_taps(const graph::Graph& graph);

struct TeacherLoss {
  at::Tensor total;  // differentiable scalar
  double features = 0;
  double head = 0;
};

// How far the student is from the teacher, per image of 320 x 320 pixels:
//   a fourth of the relative squared error of the features
//   + binary cross-entropy against the teacher's class scores (less its entropy)
//   + KL divergence of the box side distributions, weighted by the teacher's confidence
//   + a small part of the squared error of all logits over the teacher's variance,
// the last three as a mean over the detection heads. Without such heads they are the relative
// squared error of the outputs. Values in the order of taps.values().
TeacherLoss teacher_loss(const TeacherTaps& taps, const std::vector<at::Tensor>& student,
                         const std::vector<at::Tensor>& teacher, int64_t image_pixels);

}  // namespace yoloquant::quant
