#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "report/train_record.h"

// results.csv: a row an epoch with the columns `epoch` (from 1), `time` (seconds since the start of
// the training) and those of named_values. A cell is empty where an epoch was not validated.
// Follows Ultralytics' BaseTrainer.save_metrics, with the loss columns of THU-MIG's fork.
namespace yoloquant::report {

std::string results_csv(std::span<const EpochRecord> epochs);

// The rows of such a file, or of one that Ultralytics wrote: columns are found by name, others are
// ignored, missing ones are empty (NaN for training losses and rates). A row replaces earlier ones
// of the same or a later epoch, which a resumed training had appended again. Throws Error, with the
// line, for text that is no such table.
std::vector<EpochRecord> read_results_csv(const std::filesystem::path& path);

}  // namespace yoloquant::report
