#include "report/results_csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "report/training_records.h"
#include "support/temporary_folder.h"

namespace yoloquant::report {
namespace {

using testing::HasSubstr;

std::vector<EpochRecord> read_text(const std::string& text) {
  const yoloquant::test::TemporaryFolder folder;
  write_file(folder / "results.csv", text);
  return read_results_csv(folder / "results.csv");
}

std::string error_of(const std::string& text) {
  try {
    read_text(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(ResultsCsv, HasUltralyticsColumns) {
  const std::vector<EpochRecord> epochs{test::epoch_record(0), test::epoch_record(1)};
  const auto lines = split(results_csv(epochs), '\n');
  EXPECT_EQ(lines[0],
            "epoch,time,train/box_om,train/cls_om,train/dfl_om,train/box_oo,train/cls_oo,"
            "train/dfl_oo,metrics/precision(B),metrics/recall(B),metrics/mAP50(B),"
            "metrics/mAP50-95(B),val/box_om,val/cls_om,val/dfl_om,val/box_oo,val/cls_oo,val/dfl_oo,"
            "lr/pg0,lr/pg1,lr/pg2");
  EXPECT_EQ(lines[1], "1,1.500,3,4,2,2.5,5,1.75,0,0,0,0,3.5,4.5,2.5,3,5.5,2,0.01,0.01,0.02");
  EXPECT_TRUE(lines[2].starts_with("2,3.000,2.85369,"));
}

TEST(ResultsCsv, ReadsWhatItWrote) {
  std::vector<EpochRecord> epochs;
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    epochs.push_back(epoch == 3 ? test::blind_epoch_record(epoch) : test::epoch_record(epoch));
  }
  const std::string text = results_csv(epochs);
  const auto read = read_text(text);
  ASSERT_EQ(read.size(), 5U);
  EXPECT_EQ(read[4].epoch, 4);
  EXPECT_DOUBLE_EQ(read[4].seconds, 1.5);
  EXPECT_NEAR(read[4].map.value(), epochs[4].map.value(), 1e-6);
  EXPECT_FALSE(read[3].map.has_value());
  EXPECT_FALSE(read[3].val_losses.has_value());
  EXPECT_EQ(results_csv(read), text);
}

TEST(ResultsCsv, KeepsALossThatIsNoNumber) {
  EpochRecord record = test::epoch_record(0);
  record.train_losses[1] = std::nan("");
  record.train_losses[2] = HUGE_VAL;
  const auto read = read_text(results_csv({&record, 1}));
  EXPECT_TRUE(std::isnan(read[0].train_losses[1]));
  EXPECT_TRUE(std::isinf(read[0].train_losses[2]));
}

TEST(ResultsCsv, ReadsUltralyticsForm) {
  // Padded, without times, with columns of another model; epoch 2 was repeated by a resumed run.
  const auto epochs = read_text(
      "  epoch,   train/box_om,  train/seg, metrics/mAP50-95(B)\r\n"
      "      1,            2.5,          1,                0.25\r\n"
      "      2,            2.0,          1,                0.50\r\n"
      "      2,            1.5,          1,                0.75\r\n");
  ASSERT_EQ(epochs.size(), 2U);
  EXPECT_EQ(epochs[0].train_losses[0], 2.5);
  EXPECT_EQ(epochs[1].train_losses[0], 1.5);
  EXPECT_EQ(epochs[1].map, 0.75);
  EXPECT_FALSE(epochs[1].map50.has_value());
  EXPECT_TRUE(std::isnan(epochs[1].train_losses[1]));
}

TEST(ResultsCsv, ClockOfAResumedTrainingMayStartAgain) {
  const auto epochs = read_text("epoch,time\n1,10\n2,22\n3,7\n");
  EXPECT_EQ(epochs[1].seconds, 12);
  EXPECT_EQ(epochs[2].seconds, 7);
}

TEST(ResultsCsv, BrokenTextIsReadOrIsAnError) {
  const std::vector<EpochRecord> epochs{test::epoch_record(0), test::blind_epoch_record(1)};
  const std::string whole = results_csv(epochs);
  const yoloquant::test::TemporaryFolder folder;
  Random random(1);
  int errors = 0;
  for (int round = 0; round < 300; ++round) {
    std::string text = whole;
    for (int i = 0; i < 3; ++i) {
      text[random.below(text.size())] = static_cast<char>(random.below(256));
    }
    text.resize(text.size() - random.below(40));
    std::ofstream(folder / "results.csv") << text;
    try {
      EXPECT_LE(read_results_csv(folder / "results.csv").size(), 3U);
    } catch (const Error& error) {
      ++errors;
      EXPECT_THAT(error.what(), HasSubstr("results.csv: line "));
    }
  }
  EXPECT_GT(errors, 0);
  EXPECT_LT(errors, 300);
}

TEST(ResultsCsv, NamesTheLineOfAnError) {
  EXPECT_THAT(error_of("epoch,time\n1,10\n2,x1\n"), HasSubstr("line 3: 'x1' in column time"));
  EXPECT_THAT(error_of("epoch,time\n1,10,5\n"), HasSubstr("line 2: 3 cells in place of 2"));
  EXPECT_THAT(error_of("epoch,time\n1.5,10\n"), HasSubstr("line 2: the epoch"));
  EXPECT_THAT(error_of("epoch,time\n,10\n"), HasSubstr("line 2: the epoch"));
  EXPECT_THAT(error_of("epoch,time\n1e300,10\n"), HasSubstr("line 2: the epoch"));
  EXPECT_THAT(error_of("a,b\n1,2\n"), HasSubstr("line 1: no results of a training"));
  EXPECT_TRUE(read_text("").empty());
}

}  // namespace
}  // namespace yoloquant::report
