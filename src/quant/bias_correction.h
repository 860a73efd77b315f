#pragma once

#include "quant/method.h"

namespace yoloquant::quant {

// Takes the mean error of each conv's output out of its bias:
//   b += E[W x] - E[W' x'],  W' and x' quantized, means over float activations x.
// Coarse steps send the many small negative values after a SiLU to 0, which shifts every channel
// that reads them. Each conv is corrected for its own quantizers only, so that nothing is counted
// twice. Zero padding is taken for the mean as well, which is slightly off at the border. Source:
// Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
// section 4.2, on images instead of batch norm statistics.
class BiasCorrection : public Method {
 public:
  static constexpr int64_t kImages = 32;  // means need no more

  std::string_view name() const override { return "bias"; }
  void apply(graph::Graph& annotated, const MethodContext& context) override;
};

}  // namespace yoloquant::quant
