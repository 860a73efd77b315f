#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "report/train_record.h"

namespace yoloquant::report {

// Writes FOLDER/results.csv with Ultralytics' columns, a row an epoch (counted from 1). Fields
// without a value are empty.
class TrainRecorder {
 public:
  // Keeps the rows of the first `epochs_done` epochs of an earlier part of the training.
  TrainRecorder(const std::filesystem::path& folder, int64_t epochs_done);

  void add(const IterationRecord& record) { static_cast<void>(record); }
  void add(const EpochRecord& record);

 private:
  std::filesystem::path csv_;
  std::string rows_;  // all of the file
};

}  // namespace yoloquant::report
