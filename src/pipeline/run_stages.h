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

// The stages refer to `plan` and `model`, which must outlive them. Inputs that other stages make
// are there when a stage's turn has come.
std::vector<Stage> run_stages(const RunPlan& plan, RunModel& model);

}  // namespace yoloquant::pipeline
