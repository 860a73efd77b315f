#pragma once

#include <vector>

#include "data/image.h"
#include "pipeline/run_plan.h"

// Internal to the layer.
namespace yoloquant::pipeline {

// The baseline and those of RunPictures::variants that the run has.
std::vector<const PlannedVariant*> pictured_variants(const RunPlan& plan);

// The first evaluated images with the confident detections of these variants side by side, from the
// written files. Throws Error when a file is broken.
data::Image draw_pictures(const RunPlan& plan);

}  // namespace yoloquant::pipeline
