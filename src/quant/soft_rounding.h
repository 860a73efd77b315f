#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "graph/quantizer.h"
#include "tensor/tensor.h"

namespace yoloquant::quant {

// The rounding of one conv's weight as something that gradients can change (AdaRound, Nagel et al.
// 2020): w = s clamp(f + h(v), qmin, qmax), where h is the rectified sigmoid
// clamp(sigmoid(v) * 1.2 - .1, 0, 1) and f the lower one of two neighbouring codes. One of them is
// the present code, the other lies on the side of the float weight, so that the hard rounding
// (h < .5: f, else f + 1) is at the start what an earlier method has chosen.
class SoftRounding {
 public:
  // `weight` is rounded with `quantizer`; `target` holds the float weight. `lead` bounds how far
  // from the present code the soft one starts, in [0, .5): the float weight itself if that is
  // nearer. REQUIRES: zero points are 0.
  SoftRounding(const Tensor& weight, const Tensor& target, const graph::Quantizer& quantizer,
               double lead, const std::string& device);

  at::Tensor soft() const;  // differentiable weight
  at::Tensor hard() const;  // rounded weight, no gradient
  // Mean of 1 - |2h - 1|^beta, which is 0 when all of h are 0 or 1.
  at::Tensor indecision(double beta) const;

  const at::Tensor& variable() const { return v_; }

 private:
  at::Tensor h() const;

  at::Tensor step_;   // s, broadcasts against the weight
  at::Tensor floor_;  // f
  at::Tensor v_;
  int qmin_;
  int qmax_;
};

}  // namespace yoloquant::quant
