#include "quant/soft_rounding.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/div.h>
#include <ATen/ops/log.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/where.h>
#include <c10/core/Device.h>

#include "exec/convert.h"

namespace yoloquant::quant {

namespace {

constexpr double kLow = -0.1;  // gamma of the rectified sigmoid
constexpr double kHigh = 1.1;  // zeta

}  // namespace

SoftRounding::SoftRounding(const Tensor& weight, const Tensor& target,
                           const graph::Quantizer& quantizer, double lead,
                           const std::string& device)
    : qmin_(quantizer.qmin), qmax_(quantizer.qmax) {
  const at::NoGradGuard guard;
  const c10::Device place(device);
  const auto load = [&](const Tensor& tensor) {
    return exec::view_of(tensor).to(place, /*non_blocking=*/false, /*copy=*/true);
  };
  std::vector<int64_t> shape(weight.shape().size(), 1);
  if (quantizer.per_channel()) shape.at(quantizer.axis) = weight.dim(quantizer.axis);
  step_ = load(Tensor::from<float>(shape, quantizer.scale));
  const at::Tensor codes =
      load(graph::quantize(weight, quantizer)).to(c10::ScalarType::Float).contiguous();
  const at::Tensor wanted = at::clamp(at::div(load(target), step_), qmin_, qmax_);
  const at::Tensor distance = wanted.sub(codes);
  const at::Tensor up = distance.ge(0).logical_and(codes.lt(qmax_)).logical_or(codes.le(qmin_));
  floor_ = at::where(up, codes, codes.sub(1));
  const at::Tensor start = at::clamp(at::abs(distance), 0, lead);
  const at::Tensor h = at::where(up, start, start.mul(-1).add(1));
  const at::Tensor sigmoid = h.sub(kLow).div(kHigh - kLow);
  v_ = at::log(sigmoid.div(sigmoid.mul(-1).add(1))).contiguous();
  v_.requires_grad_(true);
}

at::Tensor SoftRounding::h() const {
  return at::clamp(at::sigmoid(v_).mul(kHigh - kLow).add(kLow), 0, 1);
}

at::Tensor SoftRounding::soft() const { return at::mul(floor_.add(h()), step_); }

at::Tensor SoftRounding::hard() const {
  const at::NoGradGuard guard;
  return at::mul(floor_.add(v_.ge(0).to(c10::ScalarType::Float)), step_);
}

at::Tensor SoftRounding::indecision(double beta) const {
  return at::pow(at::abs(h().mul(2).sub(1)), beta).mean().mul(-1).add(1);
}

}  // namespace yoloquant::quant
