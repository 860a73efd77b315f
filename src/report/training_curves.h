#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "report/chart.h"
#include "report/train_record.h"

namespace yoloquant::report {

// A chart for each part of the loss (training and validation), for precision and recall, for mAP
// and for the learning rates.
std::vector<Chart> training_charts(std::span<const EpochRecord> epochs);

// All of them in STEM.svg and STEM.png, the same picture.
void write_training_curves(const std::filesystem::path& stem, std::span<const EpochRecord> epochs);

}  // namespace yoloquant::report
