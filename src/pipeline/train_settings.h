#pragma once

#include <nlohmann/json.hpp>

#include "pipeline/train.h"

// Internal to the layer.
namespace yoloquant::pipeline {

// Throws Error (usage) that names the option that makes no sense.
void check_train_options(const TrainOptions& options);

// All options that the trained weights depend on, flat and by name: the checkpoints' train_args.
nlohmann::ordered_json train_settings(const TrainOptions& options);

// Throws Error (usage) that names the first setting in which a run differs from how it began.
void check_same_settings(const nlohmann::ordered_json& before, const nlohmann::ordered_json& now);

}  // namespace yoloquant::pipeline
