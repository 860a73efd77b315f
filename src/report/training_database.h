#pragma once

#include <filesystem>

#include "report/sqlite.h"
#include "report/train_record.h"

namespace yoloquant::report {

// stats.sqlite: what a training run records, a row an iteration, epoch, quantizer and event. The
// schema is in docs/formats.md. Rows are added in one transaction that `flush` ends; a process that
// is killed loses what came after the last flush and nothing else (write-ahead log). Others may
// read the file meanwhile. A row replaces an earlier one with the same key.
//
// Throws Error for a file that is no such database, or that a newer version made.
class TrainingDatabase {
 public:
  // Opens or makes the file. Rows from `resume` on are removed, events after it too; all of them
  // when it is the start of a training. `run` replaces what is known of the run.
  TrainingDatabase(std::filesystem::path path, const RunRecord& run, RecordPoint resume);

  void add(const IterationRecord& record);
  void add(const EpochRecord& record);
  void add(const LayerRecord& record);
  void add(const EventRecord& record);  // with the present time

  // Removes the rows of `point` and later ones; events stay.
  void rewind(RecordPoint point);
  void flush();
  // Flushes and brings the file into a form that can be read where nothing can be written.
  void finish();

 private:
  void store(const RunRecord& run);
  void begin();

  SqliteDatabase database_;
  SqliteStatement insert_iteration_;
  SqliteStatement insert_epoch_;
  SqliteStatement insert_layer_;
  SqliteStatement insert_event_;
};

}  // namespace yoloquant::report
