#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "exec/named_tensors.h"
#include "train/train_options.h"

// Mixed precision.
namespace yoloquant::train {

// While it lives, LibTorch's operators on the device choose their precision as torch.autocast does.
// Does nothing for kFloat32.
class Autocast {
 public:
  Autocast(Precision precision, const std::string& device);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool active_;
  at::DeviceType device_;
  bool was_enabled_ = false;
  at::ScalarType was_dtype_ = at::kFloat;
};

// Keeps float16 gradients above underflow: the loss is multiplied by a factor that is halved
// whenever gradients overflow, and doubled after 2000 steps without. Follows torch.amp.GradScaler
// with its defaults.
class GradientScaler {
 public:
  // Disabled, it leaves everything as it is.
  GradientScaler(bool enabled, const std::string& device);

  bool enabled() const { return enabled_; }
  at::Tensor scale(const at::Tensor& loss) const;
  // Divides the gradients by the factor; false when some are not finite.
  bool unscale(const std::vector<at::Tensor>& gradients);
  // After each step, taken or skipped: what `unscale` has seen since.
  void update();

  double factor() const;
  // "scale" and "growth_tracker", the tensors themselves; nothing when disabled.
  exec::NamedTensors state() const;

 private:
  bool enabled_;
  at::Tensor scale_;           // [1] float32
  at::Tensor growth_tracker_;  // [1] int32: steps without overflow
  at::Tensor found_;           // [1] float32: 1 when gradients are not finite
};

}  // namespace yoloquant::train
