#include "quant/straight_through.h"

#include <ATen/ops/clamp.h>
#include <ATen/ops/round.h>

namespace yoloquant::quant {

at::Tensor straight_through_round(const at::Tensor& x) {
  return x.add(at::round(x.detach()).sub_(x.detach()));
}

at::Tensor straight_through_quantize(const at::Tensor& x, const graph::Quantizer& quantizer) {
  const double zero = quantizer.zero_point[0];
  const at::Tensor code =
      straight_through_round(x.to(c10::ScalarType::Float).div(quantizer.scale[0]));
  return at::clamp(code, quantizer.qmin - zero, quantizer.qmax - zero).mul(quantizer.scale[0]);
}

}  // namespace yoloquant::quant
