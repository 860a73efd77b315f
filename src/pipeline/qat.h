#pragma once

#include <filesystem>
#include <functional>

#include "pipeline/load_model.h"
#include "pipeline/quantize.h"
#include "pipeline/run_root.h"
#include "pipeline/train.h"

// Internal to the layer: a model quantized by training.
namespace yoloquant::pipeline {

// Trains the model from what post-training quantization made of it (train.qat->start), and writes
// the best state to `onnx` with the checks of quantize_onnx. train.out is the training's folder;
// when it is `shared`'s, that run root serves. A training that is there is gone on with. `list`:
// the calibration images.
QuantizeResult quantize_by_training(const LoadedModel& model, const std::filesystem::path& onnx,
                                    const TrainOptions& train, const QuantizeOptions& quantize,
                                    const data::ImageList& list, RunRoot& shared,
                                    const TrainEvents& events, Progress& progress);

}  // namespace yoloquant::pipeline
