#include "base/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "support/temporary_folder.h"

namespace yoloquant {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

// One or more ranks of a shell script; quick to lose patience.
LaunchOptions shell(const std::string& script, int processes) {
  return {.command = {"/bin/sh", "-c", script},
          .processes = processes,
          .notice = milliseconds(200),
          .grace = milliseconds(300)};
}

Error failure_of(const LaunchOptions& options) {
  try {
    launch_ranks(options);
  } catch (const Error& error) {
    return error;
  }
  return Error("no error");
}

TEST(LaunchRanks, EachKnowsItsPlace) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path().string();
  launch_ranks(shell("echo $RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR ${OMP_NUM_THREADS:+set} > " +
                         path + "/$RANK; echo $MASTER_PORT > " + path + "/port$RANK",
                     3));
  EXPECT_EQ(read_file(folder / "0"), "0 0 3 127.0.0.1 set\n");
  EXPECT_EQ(read_file(folder / "2"), "2 2 3 127.0.0.1 set\n");
  EXPECT_GT(std::stoi(read_file(folder / "port0")), 1023);
  EXPECT_EQ(read_file(folder / "port0"), read_file(folder / "port2"));
}

TEST(LaunchRanks, OnlyRankZeroIsHeard) {
  testing::internal::CaptureStdout();
  launch_ranks(shell("echo from $RANK", 2));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "from 0\n");
}

TEST(LaunchRanks, ALogTakesWhatASingleProcessWrites) {
  const test::TemporaryFolder folder;
  LaunchOptions options = shell("seq 3000; echo wrong >&2; exit 3", 1);
  options.log = (folder / "log").string();
  testing::internal::CaptureStdout();
  EXPECT_THAT(failure_of(options).what(),
              AllOf(HasSubstr("the process ended with status 3"), HasSubstr("3000 | wrong")));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_TRUE(read_file(folder / "log").starts_with("1\n2\n3\n"));
  EXPECT_TRUE(read_file(folder / "log").ends_with("\n3000\nwrong\n"));
  options.log = (folder / "no" / "log").string();
  EXPECT_THAT(failure_of(options).what(), HasSubstr("cannot be written"));
}

TEST(LaunchRanks, AFailedRankIsNamedWithItsLastLines) {
  const Error error =
      failure_of(shell("test $RANK = 0 && exec sleep 60; seq 100000; printf 'half\\rwhole\\n\\n'; "
                       "echo disk full >&2; exit 3",
                       2));
  EXPECT_STREQ(error.what(),
               "rank 1 of 2 ended with status 3; it wrote last: half | whole | disk full");
  EXPECT_EQ(error.exit_status(), 1);
}

TEST(LaunchRanks, AKilledRankIsNamedWithItsSignal) {
  const Error error = failure_of(shell("test $RANK = 1 && kill -9 $$; exec sleep 60", 3));
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("rank 1 of 3 was killed by signal 9"), HasSubstr("wrote nothing")));
}

TEST(LaunchRanks, TheFirstFailureIsReportedNotWhatFollowsFromIt) {
  EXPECT_THAT(failure_of(shell("test $RANK = 2 && exit 5; sleep .15; exit 1", 3)).what(),
              HasSubstr("rank 2 of 3 ended with status 5"));
}

TEST(LaunchRanks, WrongUseStaysWrongUse) {
  EXPECT_EQ(failure_of(shell("exit 2", 2)).exit_status(), 2);
  EXPECT_EQ(failure_of(shell("exit 0", 0)).exit_status(), 2);
  EXPECT_THAT(failure_of({.command = {"/no/such/program"}, .processes = 1}).what(),
              HasSubstr("status 127"));
}

TEST(LaunchRanks, ARankThatIgnoresTheRequestToEndIsKilled) {
  const test::TemporaryFolder folder;
  failure_of(shell("test $RANK = 1 && sleep .1 && exit 1; trap '' TERM; echo $$ > " +
                       (folder / "pid").string() + "; while :; do sleep .05; done",
                   2));
  EXPECT_EQ(kill(std::stoi(read_file(folder / "pid")), 0), -1);
}

TEST(LaunchRanks, PassesAnInterruptOnAndWaitsForItsEnd) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path().string();
  std::thread interrupter([&] {
    while (!std::filesystem::exists(folder / "ready0") ||
           !std::filesystem::exists(folder / "ready1")) {
      std::this_thread::sleep_for(milliseconds(5));
    }
    request_interrupt(SIGTERM);
  });
  bool interrupted = false;
  try {
    launch_ranks(shell("trap 'sleep .1; touch " + path + "/saved$RANK; exit 143' TERM; touch " +
                           path + "/ready$RANK; while :; do sleep .02; done",
                       2));
  } catch (const Interrupted& interruption) {
    interrupted = true;
    EXPECT_EQ(interruption.shell_status(), 143);
  }
  interrupter.join();
  clear_interrupt();
  EXPECT_TRUE(interrupted);
  EXPECT_TRUE(std::filesystem::exists(folder / "saved0"));
  EXPECT_TRUE(std::filesystem::exists(folder / "saved1"));
}

}  // namespace
}  // namespace yoloquant
