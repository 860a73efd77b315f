#include "report/training_database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/error.h"
#include "base/file.h"
#include "report/training_records.h"
#include "support/temporary_folder.h"

namespace yoloquant::report {
namespace {

using testing::HasSubstr;
using testing::Not;
using yoloquant::test::TemporaryFolder;

std::string error_of(const std::filesystem::path& path) {
  try {
    const TrainingDatabase database(path, test::run_record(), {});
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

void add_epoch(TrainingDatabase& database, int64_t epoch) {
  for (int64_t i = 0; i < test::kBatches; ++i) {
    database.add(test::iteration_record(epoch * test::kBatches + i));
  }
  database.add(test::layer_record(epoch, LayerRecord::Kind::kWeight));
  database.add(test::layer_record(epoch, LayerRecord::Kind::kActivation));
  database.add(test::epoch_record(epoch));
}

int64_t count(SqliteDatabase& database, const std::string& table) {
  return database.integer("SELECT count(*) FROM " + table);
}

TEST(TrainingDatabase, HasARowForEachRecord) {
  const TemporaryFolder folder;
  TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
  add_epoch(database, 0);
  database.add(EventRecord{.epoch = 0, .iteration = 10, .kind = "rollback", .text = "mAP fell"});
  IterationRecord broken = test::iteration_record(10);
  broken.losses[0] = std::nan("");
  broken.losses[1] = HUGE_VAL;
  broken.gradient_norm.reset();
  database.add(broken);
  database.flush();

  SqliteDatabase reader(folder / "stats.sqlite");
  SqliteStatement row(reader,
                      "SELECT epoch, images, box_om, dfl_oo, total, lr_pg1, momentum, "
                      "gradient_norm, loss_scale, seconds FROM iterations WHERE iteration = 3");
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), 1);
  EXPECT_EQ(row.integer(1), 8);
  EXPECT_EQ(row.real(2), 3);
  EXPECT_EQ(row.real(3), 3.5);
  EXPECT_EQ(row.real(4), 19.5);
  EXPECT_EQ(row.real(5), 0.01);
  EXPECT_EQ(row.real(6), 0.9);
  EXPECT_EQ(row.real(7), 6);
  EXPECT_TRUE(row.is_null(8));
  EXPECT_EQ(row.real(9), 0.25);
  EXPECT_EQ(reader.text("SELECT cls_om, box_om IS NULL, gradient_norm IS NULL FROM iterations "
                        "WHERE iteration = 10"),
            "Inf");
  EXPECT_EQ(reader.integer("SELECT box_om IS NULL AND gradient_norm IS NULL FROM iterations "
                           "WHERE iteration = 10"),
            1);
  EXPECT_EQ(reader.text("SELECT train_box_om || ' ' || train_dfl_oo || ' ' || \"precision\" || ' ' "
                        "|| val_box_om || ' ' || val_dfl_oo || ' ' || lr_pg2 FROM epochs "
                        "WHERE epoch = 1"),
            "3.0 1.75 0.0 3.5 2.0 0.02");
  EXPECT_EQ(reader.text("SELECT bits || ' ' || scale_max || ' ' || oscillating || ' ' || "
                        "ifnull(clipped, '-') FROM layers WHERE kind = 'weight'"),
            "4 0.03 0.125 -");
  EXPECT_EQ(reader.text("SELECT scale_drift || ' ' || clipped || ' ' || ifnull(frozen, '-') "
                        "FROM layers WHERE layer = 'model.0.conv' AND kind = 'activation'"),
            "0.5 0.25 -");
  EXPECT_EQ(reader.text("SELECT epoch || ' ' || iteration || ' ' || kind || ' ' || text "
                        "FROM events"),
            "1 10 rollback mAP fell");
  EXPECT_EQ(reader.integer("SELECT strftime('%s', time) > 0 FROM events"), 1);
  EXPECT_EQ(reader.text("SELECT value FROM run WHERE section = 'hyperparameter' AND key = 'lr0'"),
            "0.01");
  EXPECT_EQ(reader.text("SELECT value FROM run WHERE key = 'seed'"), "18446744073709551615");
  EXPECT_EQ(reader.text("SELECT path || ' ' || items || ' ' || sha256 FROM data"),
            "data/train.txt 128 ab12");
  EXPECT_EQ(reader.integer("PRAGMA user_version"), 1);
}

TEST(TrainingDatabase, QueriesByEpochAndLayerUseAnIndex) {
  const TemporaryFolder folder;
  TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
  SqliteDatabase reader(folder / "stats.sqlite");
  for (const char* query :
       {"SELECT total FROM iterations WHERE epoch = 3",
        "SELECT epoch, oscillating FROM layers WHERE layer = 'x' AND kind = 'weight'",
        "SELECT layer FROM layers WHERE epoch = 3", "SELECT text FROM events WHERE kind = 'x'"}) {
    SqliteStatement plan(reader, std::string("EXPLAIN QUERY PLAN ") + query);
    ASSERT_TRUE(plan.step());
    EXPECT_THAT(plan.text(3), HasSubstr("SEARCH")) << query;
  }
}

TEST(TrainingDatabase, ResumeRemovesWhatIsStillToCome) {
  const TemporaryFolder folder;
  {
    TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
    for (int64_t epoch = 0; epoch < 3; ++epoch) add_epoch(database, epoch);
    for (const int64_t iteration : {12, 15, 16}) {
      database.add(EventRecord{1, iteration, "note", ""});
    }
    database.finish();
  }
  RunRecord run = test::run_record();
  run.hyperparameters = {{"epochs", "7"}};
  TrainingDatabase database(folder / "stats.sqlite", run, {.epoch = 1, .iteration = 15});
  SqliteDatabase reader(folder / "stats.sqlite");
  EXPECT_EQ(count(reader, "iterations"), 15);
  EXPECT_EQ(count(reader, "epochs"), 1);
  EXPECT_EQ(count(reader, "layers"), 2);
  EXPECT_EQ(count(reader, "events"), 2);
  EXPECT_EQ(count(reader, "run WHERE section = 'hyperparameter'"), 1);
  database.add(test::iteration_record(15));
  database.add(test::iteration_record(15));  // the same batch again replaces the first
  database.flush();
  EXPECT_EQ(count(reader, "iterations"), 16);
}

TEST(TrainingDatabase, StartOfATrainingRemovesAll) {
  const TemporaryFolder folder;
  {
    TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
    add_epoch(database, 0);
    database.add(EventRecord{0, 0, "note", ""});
  }
  TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
  SqliteDatabase reader(folder / "stats.sqlite");
  for (const char* table : {"iterations", "epochs", "layers", "events"}) {
    EXPECT_EQ(count(reader, table), 0) << table;
  }
}

TEST(TrainingDatabase, RewindKeepsEvents) {
  const TemporaryFolder folder;
  TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
  for (int64_t epoch = 0; epoch < 2; ++epoch) add_epoch(database, epoch);
  database.add(EventRecord{1, 20, "rollback", ""});
  database.rewind({.epoch = 1, .iteration = 10});
  database.flush();
  SqliteDatabase reader(folder / "stats.sqlite");
  EXPECT_EQ(count(reader, "iterations"), 10);
  EXPECT_EQ(count(reader, "epochs"), 1);
  EXPECT_EQ(count(reader, "events"), 1);
}

TEST(TrainingDatabase, FinishedIsOneFileThatCanBeReadAlone) {
  const TemporaryFolder folder;
  TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
  add_epoch(database, 0);
  EXPECT_TRUE(std::filesystem::exists(folder / "stats.sqlite-wal"));
  database.finish();
  EXPECT_FALSE(std::filesystem::exists(folder / "stats.sqlite-wal"));
  std::filesystem::copy_file(folder / "stats.sqlite", folder / "copy.sqlite");
  SqliteDatabase copy(folder / "copy.sqlite");
  EXPECT_EQ(count(copy, "iterations"), test::kBatches);
}

TEST(TrainingDatabase, FinishBearsAReader) {
  const TemporaryFolder folder;
  TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
  add_epoch(database, 0);
  database.flush();
  SqliteDatabase reader(folder / "stats.sqlite");
  SqliteStatement query(reader, "SELECT iteration FROM iterations");
  ASSERT_TRUE(query.step());  // a read that is under way
  add_epoch(database, 1);
  database.finish();
  EXPECT_EQ(count(reader, "epochs"), 1);  // its view of before
  while (query.step()) {
  }
  EXPECT_EQ(count(reader, "epochs"), 2);
}

// A child adds rows until it is killed; it tells how many were flushed.
TEST(TrainingDatabase, KilledProcessLosesNothingThatWasFlushed) {
  const TemporaryFolder folder;
  int64_t start = 0;
  for (const int delay_ms : {0, 3, 11}) {
    std::array<int, 2> pipe_ends{};
    ASSERT_EQ(pipe(pipe_ends.data()), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        const RecordPoint resume{start / test::kBatches, start};
        TrainingDatabase database(folder / "stats.sqlite", test::run_record(), resume);
        for (int64_t i = start;; ++i) {
          database.add(test::iteration_record(i));
          if (i % 7 != 6) continue;
          database.flush();
          if (write(pipe_ends[1], &i, sizeof i) != sizeof i) _exit(1);
        }
      } catch (const std::exception&) {
        _exit(1);
      }
    }
    close(pipe_ends[1]);
    int64_t flushed = 0;
    for (int i = 0; i < 5; ++i) ASSERT_EQ(read(pipe_ends[0], &flushed, sizeof flushed), 8);
    usleep(static_cast<useconds_t>(delay_ms) * 1000);
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    while (read(pipe_ends[0], &flushed, sizeof flushed) == 8) {
    }
    close(pipe_ends[0]);

    SqliteDatabase reader(folder / "stats.sqlite");
    EXPECT_EQ(reader.text("PRAGMA integrity_check"), "ok");
    EXPECT_GE(count(reader, "iterations"), flushed + 1);
    EXPECT_EQ(reader.integer("SELECT max(iteration) + 1 - count(*) FROM iterations"), 0);
    start = flushed + 1;
  }
}

TEST(TrainingDatabase, RefusesOtherFilesInOneLine) {
  const TemporaryFolder folder;
  write_file(folder / "text", std::string(5000, 'x'));
  EXPECT_THAT(error_of(folder / "text"),
              AllOf(HasSubstr("text: file is not a database"), HasSubstr("move the file away")));
  {
    SqliteDatabase other(folder / "other");
    other.execute("CREATE TABLE a (b)");
  }
  EXPECT_THAT(error_of(folder / "other"), HasSubstr("no database of a training"));
  {
    const TrainingDatabase database(folder / "newer", test::run_record(), {});
  }
  {
    SqliteDatabase newer(folder / "newer");
    newer.execute("PRAGMA user_version = 2");
  }
  EXPECT_THAT(error_of(folder / "newer"), HasSubstr("has schema 2, this program writes 1"));
  EXPECT_THAT(error_of(folder / "missing" / "stats"), HasSubstr("is its folder there"));
}

TEST(TrainingDatabase, BrokenPagesAreAnError) {
  const TemporaryFolder folder;
  {
    TrainingDatabase database(folder / "stats.sqlite", test::run_record(), {});
    for (int64_t epoch = 0; epoch < 40; ++epoch) add_epoch(database, epoch);
    database.finish();
  }
  std::string bytes = read_file(folder / "stats.sqlite");
  std::fill(bytes.begin() + 4096, bytes.end(), '\x5A');
  write_file(folder / "stats.sqlite", bytes);
  const std::string error = error_of(folder / "stats.sqlite");
  EXPECT_THAT(error, HasSubstr("malformed"));
  EXPECT_THAT(error, Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace yoloquant::report
