#pragma once

#include <ATen/core/Tensor.h>

// Internal to the layer: the passes over memory behind batch_norm.h. Tensors are float32 on the
// CPU, channels last: a row of C values per pixel. Sums over the pixels are kept in float32 for a
// few thousand values and in float64 beyond, in an order that does not depend on the number of
// threads.
namespace yoloquant::train {

enum class NormActivation : uint8_t { kNone, kSilu };

// [C] float32 each.
struct ChannelMoments {
  at::Tensor mean;
  at::Tensor variance;  // biased
};

// Of the channels of x over all pixels (Chan, Golub, LeVeque 1979: no cancellation).
ChannelMoments channel_moments(const at::Tensor& x);

// y = activation(z), z = scale (x - mean) + offset. [C] each.
struct ChannelScales {
  at::Tensor mean;
  at::Tensor scale;
  at::Tensor offset;
};
at::Tensor scale_channels(const at::Tensor& x, const ChannelScales& scales,
                          NormActivation activation);

struct ScaleGradients {
  at::Tensor z;
  at::Tensor sum;       // [C]: its sum over the pixels
  at::Tensor centered;  // [C]: that of it times (x - mean)
};

// `gradient` is that of y.
ScaleGradients scale_channels_backward(const at::Tensor& x, const at::Tensor& gradient,
                                       const ChannelScales& scales, NormActivation activation);

// z = scale z - a - b (x - mean), in place.
void center_gradient(at::Tensor& z, const at::Tensor& x, const ChannelScales& scales,
                     const at::Tensor& a, const at::Tensor& b);

}  // namespace yoloquant::train
