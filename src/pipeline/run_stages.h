#pragma once

#include <optional>
#include <vector>

#include "pipeline/load_model.h"
#include "pipeline/run_plan.h"
#include "pipeline/stage.h"

// Internal to the layer: the stages of a run, in order.
namespace yoloquant::pipeline {

// The model, read when the first stage needs it: a resumed run often needs it no more.
class RunModel {
 public:
  explicit RunModel(const RunPlan& plan) : plan_(plan) {}

  const LoadedModel& get();

 private:
  const RunPlan& plan_;
  std::optional<LoadedModel> model_;
};

// Stages refer to their arguments, which must outlive them, and to the plan's variants. Inputs that
// other stages make are there when a stage's turn has come.
//
// Baselines, the calibration list, and post-training quantization by each scheme.
std::vector<Stage> first_stages(const RunPlan& plan, RunModel& model);
// Of a trained variant.
std::vector<Stage> training_stages(const RunPlan& plan, const PlannedVariant& variant,
                                   RunModel& model, RunRoot& root);
// Of all variants together.
std::vector<Stage> comparison_stages(const RunPlan& plan);

}  // namespace yoloquant::pipeline
