#pragma once

#include <vector>

#include "pipeline/environment.h"
#include "pipeline/run_plan.h"
#include "pipeline/stage.h"
#include "report/summary.h"

// Internal to the layer.
namespace yoloquant::pipeline {

// The summary of a finished run, from the files in its root.
report::RunSummary read_summary(const RunPlan& plan, const std::vector<StageResult>& stages,
                                const Environment& environment,
                                const std::vector<std::string>& warnings);

// summary.md, summary.json and summary.svg.
void write_summary(const RunPlan& plan, const report::RunSummary& summary);

}  // namespace yoloquant::pipeline
