#pragma once

#include <chrono>
#include <filesystem>
#include <vector>

#include "report/tensorboard.h"
#include "report/train_record.h"
#include "report/training_database.h"

namespace yoloquant::report {

// Writes all that a training run records into its folder:
//   results.csv             an epoch a row, whole after each epoch
//   events.out.tfevents.*   the same figures for TensorBoard, step = epoch
//   stats.sqlite            iterations, epochs, quantizers, events
//   results.svg, .png       curves of results.csv, at most twice a minute and at the end
//
// For records that agree with a checkpoint, add what belongs to it and flush before it is saved,
// and give the recorder of the resumed run its point. Throws Error when something cannot be
// written. For one thread, and for one process of a data-parallel job.
class TrainRecorder {
 public:
  // Goes on at `resume`: what an earlier run recorded from there on is removed. At the default the
  // records of an earlier run are replaced.
  TrainRecorder(std::filesystem::path folder, const RunRecord& run, RecordPoint resume = {});
  ~TrainRecorder();  // flushes; finish() also reports errors
  TrainRecorder(const TrainRecorder&) = delete;
  TrainRecorder& operator=(const TrainRecorder&) = delete;

  void add(const IterationRecord& record);
  void add(const EpochRecord& record);
  void add(const LayerRecord& record);
  void add(const EventRecord& record);

  // For a run that goes back by itself: removes the records from `point` on, except events.
  void rewind(RecordPoint point);
  // After it, a killed process loses nothing. It happens by itself after each epoch and event, and
  // every 200 iterations or 10 seconds.
  void flush();
  // Flushes, draws the curves and closes the database's log.
  void finish();

  const std::vector<EpochRecord>& epochs() const { return epochs_; }

 private:
  using Clock = std::chrono::steady_clock;

  void drop_epochs(int64_t first);
  void draw();

  std::filesystem::path folder_;
  std::vector<EpochRecord> epochs_;
  TrainingDatabase database_;
  TensorBoardWriter tensorboard_;
  int64_t unflushed_ = 0;  // iterations
  Clock::time_point flushed_;
  Clock::time_point drawn_;
};

}  // namespace yoloquant::report
