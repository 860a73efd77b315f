#include "train/ema.h"

#include <cmath>

namespace yoloquant::train {

quant::ParameterAverage make_ema(const NamedTensors& tensors, double decay, double tau) {
  return {tensors, [decay, tau](int64_t updates) {
            return decay * (1 - std::exp(-static_cast<double>(updates) / tau));
          }};
}

quant::ParameterAverage make_ema(const TrainableGraph& model, double decay, double tau) {
  return make_ema(model.state(), decay, tau);
}

}  // namespace yoloquant::train
