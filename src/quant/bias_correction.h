#pragma once

#include "quant/method.h"

namespace yoloquant::quant {

// Takes the mean error of each conv's output out of its bias:
//   b += E[y - y'],  y the output in the float model, y' behind all that is quantized.
// Coarse steps send the many small negative values after a SiLU to 0, which shifts every channel
// that reads them. Convs are visited in execution order, and each sees the corrections of those
// before it. A part of the images is held out: a channel's correction is made only where it lowers
// the squared error of that channel on them, and then from the mean over all images. With a single
// image there is nothing to hold out, and all corrections are made. Source: Nagel et al. 2019,
// "Data-Free Quantization Through Weight Equalization and Bias Correction", the form of its
// appendix that measures the means on data.
class BiasCorrection : public Method {
 public:
  static constexpr int64_t kImages = 32;  // means need no more

  std::string_view name() const override { return "bias"; }
  void apply(graph::Graph& annotated, const MethodContext& context) override;
};

}  // namespace yoloquant::quant
