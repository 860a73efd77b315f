#include "pipeline/stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "support/temporary_folder.h"

namespace yoloquant::pipeline {
namespace {

using testing::HasSubstr;

// Copies in.txt to out.txt and counts.
class StageTest : public testing::Test {
 protected:
  StageTest() : root_(folder_ / "run", RunMode::kNew) {
    write_file(folder_ / "in.txt", "input");
    stage_.name = "copy";
    stage_.options = {{"level", 1}};
    stage_.inputs = {folder_ / "in.txt"};
    stage_.outputs = {"out.txt"};
    stage_.run = [this](Progress&) {
      ++runs_;
      write_file(root_.file("out.txt"), read_file(folder_ / "in.txt"));
    };
  }
  ~StageTest() override { clear_interrupt(); }

  StageResult run() { return run_stage(root_, stage_, Progress::none()); }

  test::TemporaryFolder folder_;
  RunRoot root_;
  Stage stage_;
  int runs_ = 0;
};

TEST_F(StageTest, RunsOnce) {
  EXPECT_FALSE(run().skipped);
  const StageResult again = run();
  EXPECT_TRUE(again.skipped);
  EXPECT_EQ(again.seconds, root_.journal()[0].seconds);
  EXPECT_EQ(runs_, 1);
}

TEST_F(StageTest, RunsAgainWhenSomethingChanged) {
  run();
  write_file(folder_ / "in.txt", "other input");
  EXPECT_FALSE(run().skipped);
  stage_.options["level"] = 2;
  EXPECT_FALSE(run().skipped);
  write_file(root_.file("out.txt"), "tampered with");
  EXPECT_FALSE(run().skipped);
  std::filesystem::remove(root_.file("out.txt"));
  EXPECT_FALSE(run().skipped);
  EXPECT_TRUE(run().skipped);
  EXPECT_EQ(runs_, 5);
}

TEST_F(StageTest, GoesBackToOptionsOfBefore) {
  run();
  stage_.options["level"] = 2;
  run();
  stage_.options["level"] = 1;
  EXPECT_TRUE(run().skipped);  // the output is the same for both
}

TEST_F(StageTest, FailureIsNotJournaledAndNamesTheStage) {
  stage_.run = [](Progress&) { fail("no luck"); };
  try {
    run();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "copy: no luck");
  }
  EXPECT_TRUE(root_.journal().empty());
  EXPECT_THAT(read_file(root_.file("logs/run.log")), HasSubstr("copy: failed: no luck"));
}

TEST_F(StageTest, MissingOutputIsAnError) {
  stage_.outputs.push_back("never.txt");
  EXPECT_THROW(run(), Error);
  EXPECT_TRUE(root_.journal().empty());
}

TEST_F(StageTest, MissingInputIsAnError) {
  stage_.inputs.push_back(folder_ / "nowhere.txt");
  EXPECT_THROW(run(), Error);
  EXPECT_EQ(runs_, 0);
}

TEST_F(StageTest, InterruptionStopsAtTheNextStep) {
  stage_.run = [this](Progress& progress) {
    progress.start("steps", 3);
    for (int i = 0; i < 3; ++i) {
      ++runs_;
      if (i == 1) request_interrupt(SIGTERM);
      progress.update(i);
    }
  };
  EXPECT_THROW(run(), Interrupted);
  EXPECT_EQ(runs_, 2);
  EXPECT_TRUE(root_.journal().empty());
  EXPECT_THROW(run(), Interrupted);  // not even started
  EXPECT_EQ(runs_, 2);
}

TEST_F(StageTest, SignalRequestsAnInterruption) {
  install_interrupt_handlers();
  std::raise(SIGINT);
  EXPECT_TRUE(interrupt_requested());
  try {
    run();
    FAIL() << "not interrupted";
  } catch (const Interrupted& interrupted) {
    EXPECT_EQ(interrupted.shell_status(), 130);
  }
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace
}  // namespace yoloquant::pipeline
