#include "report/train_recorder.h"

#include "base/error.h"
#include "base/file.h"
#include "report/results_csv.h"
#include "report/training_curves.h"

namespace yoloquant::report {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kFlushIterations = 200;
constexpr std::chrono::seconds kFlushTime{10};
constexpr std::chrono::seconds kDrawTime{30};

// Epochs count from 1 in TensorBoard.
int64_t step_of(int64_t epoch) { return epoch + 1; }

fs::path made(fs::path folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("{}: cannot make folder: {}", folder.string(), error.message());
  return folder;
}

}  // namespace

TrainRecorder::TrainRecorder(fs::path folder, const RunRecord& run, RecordPoint resume)
    : folder_(made(std::move(folder))),
      database_(folder_ / "stats.sqlite", run, resume),
      tensorboard_(folder_, step_of(resume.epoch)),
      flushed_(Clock::now()),
      drawn_(Clock::now() - kDrawTime) {
  const fs::path csv = folder_ / "results.csv";
  if (resume.epoch > 0 && fs::exists(csv)) epochs_ = read_results_csv(csv);
  drop_epochs(resume.epoch);
}

TrainRecorder::~TrainRecorder() {
  try {
    flush();
  } catch (const std::exception&) {
    // A destructor may run because of this very error.
  }
}

void TrainRecorder::add(const IterationRecord& record) {
  database_.add(record);
  if (++unflushed_ >= kFlushIterations || Clock::now() - flushed_ >= kFlushTime) flush();
}

void TrainRecorder::add(const EpochRecord& record) {
  database_.add(record);
  std::vector<TensorBoardWriter::Scalar> scalars;
  for (const auto& [name, value] : named_values(record)) {
    if (value) scalars.emplace_back(name, *value);
  }
  tensorboard_.add(step_of(record.epoch), scalars);
  while (!epochs_.empty() && epochs_.back().epoch >= record.epoch) epochs_.pop_back();
  epochs_.push_back(record);
  write_file(folder_ / "results.csv", results_csv(epochs_));
  flush();
  if (Clock::now() - drawn_ >= kDrawTime) draw();
}

void TrainRecorder::add(const LayerRecord& record) { database_.add(record); }

void TrainRecorder::add(const EventRecord& record) {
  database_.add(record);
  flush();
}

void TrainRecorder::rewind(RecordPoint point) {
  database_.rewind(point);
  tensorboard_.restart(step_of(point.epoch));
  drop_epochs(point.epoch);
  flush();
}

void TrainRecorder::flush() {
  database_.flush();
  tensorboard_.flush();
  unflushed_ = 0;
  flushed_ = Clock::now();
}

void TrainRecorder::finish() {
  flush();
  if (!epochs_.empty()) draw();
  database_.finish();
}

void TrainRecorder::drop_epochs(int64_t first) {
  while (!epochs_.empty() && epochs_.back().epoch >= first) epochs_.pop_back();
  write_file(folder_ / "results.csv", results_csv(epochs_));
}

void TrainRecorder::draw() {
  write_training_curves(folder_ / "results", epochs_);
  drawn_ = Clock::now();
}

}  // namespace yoloquant::report
