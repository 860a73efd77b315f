#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "graph/graph.h"

namespace yoloquant::quant {

// Which nodes of a detector a student is compared with its teacher at.
struct TeacherTaps {
  std::vector<std::string> features;  // the last node of each block with more than one conv
  std::vector<double> weights;        // of the features; the first blocks count half
  std::string boxes;                  // logits of the box sides' distributions, [N, 4 * bins, A]
  std::string classes;                // class logits, [N, classes, A]

  std::vector<std::string> nodes() const;  // features, boxes, classes
};

// Throws Error when the graph has no YOLOv10 head.
TeacherTaps find_taps(const graph::Graph& graph);

struct TeacherLoss {
  at::Tensor total;  // differentiable scalar
  double features = 0;
  double classes = 0;
  double boxes = 0;
  double logits = 0;
};

// How far the student is from the teacher, per image of 320 x 320 pixels:
//   relative squared error of the features
//   + binary cross-entropy against the teacher's class scores (less its entropy)
//   + KL divergence of the box side distributions, weighted by the teacher's confidence
//   + squared error of all logits over the teacher's variance.
// Outputs in the order of taps.nodes().
TeacherLoss teacher_loss(const TeacherTaps& taps, const std::vector<at::Tensor>& student,
                         const std::vector<at::Tensor>& teacher, int64_t image_pixels);

}  // namespace yoloquant::quant
