#include "train/amp.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_amp_update_scale.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Device.h>

#include <utility>

namespace yoloquant::train {

namespace {

constexpr double kFirstScale = 65536;
constexpr double kGrowth = 2;
constexpr double kBackoff = 0.5;
constexpr int64_t kGrowthInterval = 2000;

}  // namespace

Autocast::Autocast(Precision precision, const std::string& device)
    : active_(precision != Precision::kFloat32), device_(c10::Device(device).type()) {
  if (!active_) return;
  was_enabled_ = at::autocast::is_autocast_enabled(device_);
  was_dtype_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_,
                                   precision == Precision::kFloat16 ? at::kHalf : at::kBFloat16);
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  if (!active_) return;
  // Casts of weights are kept until the outermost region ends.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, was_dtype_);
}

GradientScaler::GradientScaler(bool enabled, const std::string& device)
    : enabled_(enabled),
      scale_(at::full({1}, enabled ? kFirstScale : 1,
                      at::TensorOptions(c10::Device(device)).dtype(at::kFloat))),
      growth_tracker_(at::zeros({1}, scale_.options().dtype(at::kInt))),
      found_(at::zeros({1}, scale_.options())) {}

at::Tensor GradientScaler::scale(const at::Tensor& loss) const {
  return enabled_ ? loss.mul(scale_[0]) : loss;
}

bool GradientScaler::unscale(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard guard;
  found_.zero_();
  if (!enabled_ || gradients.empty()) return true;
  // Dividing in double and rounding once, as GradScaler does.
  const at::Tensor inverse = scale_.to(at::kDouble).reciprocal().to(at::kFloat);
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, found_, inverse);
  return found_.item<float>() == 0;
}

void GradientScaler::update() {
  if (!enabled_) return;
  at::_amp_update_scale_(scale_, growth_tracker_, found_, kGrowth, kBackoff, kGrowthInterval);
}

double GradientScaler::factor() const { return scale_.item<float>(); }

exec::NamedTensors GradientScaler::state() const {
  if (!enabled_) return {};
  return {{"scale", scale_}, {"growth_tracker", growth_tracker_}};
}

}  // namespace yoloquant::train
