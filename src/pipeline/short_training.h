#pragma once

#include "pipeline/train.h"

namespace yoloquant::pipeline {

// Settings of a short training of a quantized model that starts from a trained one: small steps on
// few images, drawn to the float model's outputs. What `qat` and `run --qat` begin with.
void set_short_training(TrainOptions& options, QatSettings& qat);

}  // namespace yoloquant::pipeline
