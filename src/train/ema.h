#pragma once

#include "quant/parameter_average.h"
#include "train/trainable_graph.h"

namespace yoloquant::train {

// The running mean of a model's parameters and running statistics that is validated and saved;
// whole numbers are left out. Its decay rises as decay (1 - exp(-updates / tau)). Ultralytics
// ModelEMA.
quant::ParameterAverage make_ema(const TrainableGraph& model, double decay = 0.9999,
                                 double tau = 2000);
// The same of any tensors.
quant::ParameterAverage make_ema(const NamedTensors& tensors, double decay, double tau);

}  // namespace yoloquant::train
