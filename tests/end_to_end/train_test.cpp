#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "base/file.h"
#include "training.h"

namespace yoloquant::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

int interrupted_run(const fs::path& folder, int signal) {
  return disturbed_training(train_arguments("run"), folder,
                            [&](int process) { kill(process, signal); });
}

void expect_same_weights(const fs::path& actual, const fs::path& expected) {
  const checkpoint::Checkpoint a = last_of(actual);
  const checkpoint::Checkpoint b = last_of(expected);
  EXPECT_EQ(a.epoch, b.epoch);
  for (const auto& [name, value] : b.state) EXPECT_TRUE(equal(a.state.at(name), value)) << name;
  for (const auto& [name, value] : b.raw_state) {
    EXPECT_TRUE(equal(a.raw_state.at(name), value)) << name;
  }
}

const fs::path& straight_run() {
  static const TemporaryFolder folder;
  static const Outcome outcome = yoloquant(train_arguments("run") + " --json", folder.path());
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.json()["epochs"], 4);
  static const fs::path run = folder / "run";
  return run;
}

TEST(Train, AfterKill9TheFinalWeightsAreTheSame) {
  const TemporaryFolder folder;
  const int status = interrupted_run(folder.path(), SIGKILL);
  ASSERT_TRUE(WIFSIGNALED(status)) << read_file(folder / "err");
  const Outcome outcome = yoloquant(train_arguments("run") + " --resume", folder.path());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  expect_same_weights(folder / "run", straight_run());
}

TEST(Train, SigtermSavesAndEndsWithItsStatus) {
  const TemporaryFolder folder;
  const int status = interrupted_run(folder.path(), SIGTERM);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM);
  EXPECT_THAT(read_file(folder / "err"), HasSubstr("go on with --resume"));
  const Outcome outcome = yoloquant(train_arguments("run") + " --resume", folder.path());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  expect_same_weights(folder / "run", straight_run());
}

TEST(Train, ItsCheckpointsAreTakenByOtherCommands) {
  const fs::path best = straight_run() / "weights/best.pt";
  const Outcome info = yoloquant("info '" + best.string() + "' --json");
  EXPECT_EQ(info.status, 0) << info.err;
  const TemporaryFolder folder;
  const Outcome exported = yoloquant(
      "export '" + best.string() + "' --imgsz 64 --head one2one --out best.onnx", folder.path());
  EXPECT_EQ(exported.status, 0) << exported.err;
  const Outcome converted = yoloquant("checkpoint convert '" + best.string() +
                                          "' small.pt --no-optimizer --no-both --dtype float16",
                                      folder.path());
  EXPECT_EQ(converted.status, 0) << converted.err;
}

TEST(Train, WrongUse) {
  const TemporaryFolder folder;
  const std::string model = "'" + tiny_example().model.string() + "'";
  const Outcome no_data = yoloquant("train " + model + " --out run", folder.path());
  EXPECT_EQ(no_data.status, 2);
  EXPECT_THAT(no_data.err, HasSubstr("--data"));
  const Outcome amp = yoloquant(train_arguments("run") + " --amp fp16", folder.path());
  EXPECT_EQ(amp.status, 2);
  EXPECT_THAT(amp.err, HasSubstr("bf16"));
  EXPECT_EQ(yoloquant("train missing.yaml --data data.yaml --out run", folder.path()).status, 1);
}

}  // namespace
}  // namespace yoloquant::test
