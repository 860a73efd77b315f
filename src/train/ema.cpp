#include "train/ema.h"

#include <cmath>

namespace yoloquant::train {

quant::ParameterAverage make_ema(const TrainableGraph& model, double decay, double tau) {
  return {model.state(), [decay, tau](int64_t updates) {
            return decay * (1 - std::exp(-static_cast<double>(updates) / tau));
          }};
}

}  // namespace yoloquant::train
