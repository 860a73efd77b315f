#include "report/train_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "report/results_csv.h"
#include "report/training_records.h"
#include "support/temporary_folder.h"

namespace yoloquant::report {
namespace {

using yoloquant::test::TemporaryFolder;

void train(TrainRecorder& recorder, int64_t first_epoch, int64_t last_epoch) {
  for (int64_t epoch = first_epoch; epoch <= last_epoch; ++epoch) {
    for (int64_t i = 0; i < test::kBatches; ++i) {
      recorder.add(test::iteration_record(epoch * test::kBatches + i));
    }
    recorder.add(test::layer_record(epoch, LayerRecord::Kind::kWeight));
    recorder.add(epoch == 1 ? test::blind_epoch_record(epoch) : test::epoch_record(epoch));
  }
}

int64_t integer(const std::filesystem::path& folder, const std::string& sql) {
  return SqliteDatabase(folder / "stats.sqlite").integer(sql);
}

TEST(TrainRecorder, AResumedRunHasTheRecordsOfAnUnbrokenOne) {
  const TemporaryFolder whole;
  {
    TrainRecorder recorder(whole.path(), test::run_record());
    train(recorder, 0, 4);
    recorder.finish();
  }
  const TemporaryFolder resumed;
  {
    TrainRecorder recorder(resumed.path(), test::run_record());
    train(recorder, 0, 3);
    recorder.add(test::iteration_record(40));
  }
  {
    // The checkpoint was made within the third epoch.
    TrainRecorder recorder(resumed.path(), test::run_record(), {.epoch = 2, .iteration = 25});
    EXPECT_EQ(recorder.epochs().size(), 2U);
    EXPECT_EQ(integer(resumed.path(), "SELECT count(*) FROM iterations"), 25);
    for (int64_t i = 25; i < 30; ++i) recorder.add(test::iteration_record(i));
    recorder.add(test::layer_record(2, LayerRecord::Kind::kWeight));
    recorder.add(test::epoch_record(2));
    train(recorder, 3, 4);
    recorder.finish();
  }
  EXPECT_EQ(read_file(resumed / "results.csv"), read_file(whole / "results.csv"));
  EXPECT_EQ(read_file(resumed / "results.svg"), read_file(whole / "results.svg"));
  for (const char* sql :
       {"SELECT count(*) FROM iterations", "SELECT sum(iteration) FROM iterations",
        "SELECT count(*) FROM epochs", "SELECT count(*) FROM layers"}) {
    EXPECT_EQ(integer(resumed.path(), sql), integer(whole.path(), sql)) << sql;
  }
}

TEST(TrainRecorder, EpochsAndEventsAreThereAtOnce) {
  const TemporaryFolder folder;
  TrainRecorder recorder(folder.path(), test::run_record());
  train(recorder, 0, 0);
  EXPECT_EQ(read_results_csv(folder / "results.csv").size(), 1U);
  EXPECT_EQ(integer(folder.path(), "SELECT count(*) FROM iterations"), test::kBatches);
  recorder.add(test::iteration_record(10));
  EXPECT_EQ(integer(folder.path(), "SELECT count(*) FROM iterations"), test::kBatches);
  recorder.add(EventRecord{1, 11, "interruption", "SIGTERM"});
  EXPECT_EQ(integer(folder.path(), "SELECT count(*) FROM iterations"), test::kBatches + 1);
  EXPECT_TRUE(std::filesystem::exists(folder / "results.png"));
}

TEST(TrainRecorder, IterationsAreFlushedByThemselves) {
  const TemporaryFolder folder;
  TrainRecorder recorder(folder.path(), test::run_record());
  for (int64_t i = 0; i < 450; ++i) recorder.add(test::iteration_record(i));
  EXPECT_GE(integer(folder.path(), "SELECT count(*) FROM iterations"), 400);
}

TEST(TrainRecorder, RewindTakesEpochsBack) {
  const TemporaryFolder folder;
  TrainRecorder recorder(folder.path(), test::run_record());
  train(recorder, 0, 4);
  recorder.rewind({.epoch = 3, .iteration = 30});
  EXPECT_EQ(read_results_csv(folder / "results.csv").size(), 3U);
  EXPECT_EQ(integer(folder.path(), "SELECT count(*) FROM epochs"), 3);
  EXPECT_EQ(integer(folder.path(), "SELECT count(*) FROM iterations"), 30);
}

TEST(TrainRecorder, ANewRunReplacesTheRecordsOfAnother) {
  const TemporaryFolder folder;
  {
    TrainRecorder recorder(folder.path(), test::run_record());
    train(recorder, 0, 1);
  }
  TrainRecorder recorder(folder.path(), test::run_record());
  EXPECT_TRUE(read_results_csv(folder / "results.csv").empty());
  EXPECT_EQ(integer(folder.path(), "SELECT count(*) FROM iterations"), 0);
}

TEST(TrainRecorder, BrokenResultsOfAnEarlierRunAreAnError) {
  const TemporaryFolder folder;
  write_file(folder / "results.csv", "epoch,time\n1,what\n");
  EXPECT_THROW(TrainRecorder(folder.path(), test::run_record(), {1, 10}), Error);
}

}  // namespace
}  // namespace yoloquant::report
