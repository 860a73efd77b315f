#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <csignal>
#include <fstream>

#include "base/file.h"
#include "base/launcher.h"
#include "base/text.h"
#include "training.h"

// Trainings of several processes.
namespace yoloquant::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

double largest_difference(const TensorMap& a, const TensorMap& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (const auto& [name, value] : b) {
    if (value.dtype() != DType::kFloat32) continue;
    const auto x = a.at(name).data<float>();
    const auto y = value.data<float>();
    for (size_t i = 0; i < y.size(); ++i) {
      largest = std::fmax(largest, std::abs(static_cast<double>(x[i]) - y[i]));
    }
  }
  return largest;
}

void expect_same_end(const fs::path& actual, const fs::path& expected) {
  const checkpoint::Checkpoint a = last_of(actual);
  const checkpoint::Checkpoint b = last_of(expected);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_LT(largest_difference(a.state, b.state), 1e-5);
  EXPECT_LT(largest_difference(a.raw_state, b.raw_state), 1e-5);
}

// Its folder; made once for each set of options.
const fs::path& finished_run(const std::string& options) {
  static const TemporaryFolder folder;
  static std::map<std::string, fs::path> runs;
  const auto [run, is_new] = runs.emplace(options, folder / fmt::format("run{}", runs.size()));
  if (is_new) {
    const Outcome outcome = yoloquant(train_arguments(run->second.string()) + " " + options);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("4 epochs in"));
    EXPECT_THAT(outcome.err, HasSubstr("epoch 4/4"));
  }
  return run->second;
}

// train/cls_om of an epoch, from 1.
double class_loss(const fs::path& run, size_t epoch) {
  return std::stod(split(split(read_file(run / "results.csv"), '\n').at(epoch), ',').at(3));
}

class TrainRanks : public testing::Test {
 protected:
  void SetUp() override {
    try {
      free_loopback_port();
    } catch (const Error&) {
      GTEST_SKIP() << "no sockets on 127.0.0.1 here";
    }
  }
};

TEST_F(TrainRanks, TwoProcessesTrainLikeOneWithTheSameBatch) {
  const fs::path& one = finished_run("--freeze-norm");
  const fs::path& two = finished_run("--freeze-norm --nproc 2");
  expect_same_end(two, one);
  EXPECT_NEAR(class_loss(two, 4) / class_loss(one, 4), 1, 1e-4);
}

// Norms over so few values soon make rounding errors large: it is the first epoch that tells.
TEST_F(TrainRanks, SynchronizedNormsAreThoseOfTheWholeBatch) {
  const double one = class_loss(finished_run(""), 1);
  EXPECT_NEAR(class_loss(finished_run("--sync-bn --nproc 2"), 1) / one, 1, 1e-4);
  EXPECT_GT(std::abs(class_loss(finished_run("--nproc 2"), 1) / one - 1), 5e-4);
}

TEST_F(TrainRanks, AnotherLauncherStartsThemAsWell) {
  const TemporaryFolder folder;
  const auto rank = [&, port = free_loopback_port()](int number) {
    return fmt::format(
        "RANK={0} WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT={1} '{2}' {3} --nproc 2 >out{0} "
        "2>err{0}",
        number, port, yoloquant_program().string(), train_arguments("run"));
  };
  const std::string command =
      fmt::format("cd '{}' && {{ {} & {}; wait $!; }}", folder.path().string(), rank(1), rank(0));
  EXPECT_EQ(std::system(command.c_str()), 0) << read_file(folder / "err0");
  EXPECT_EQ(read_file(folder / "out1") + read_file(folder / "err1"), "");
  EXPECT_THAT(read_file(folder / "out0"), HasSubstr("4 epochs in"));
  expect_same_end(folder / "run", finished_run("--nproc 2"));
}

// The process with this rank that `launcher` has started; -1: none.
pid_t process_of_rank(pid_t launcher, int rank) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream status(entry.path() / "status");
    std::ifstream environment(entry.path() / "environ");
    const std::string fields{std::istreambuf_iterator<char>(status), {}};
    const std::string variables{std::istreambuf_iterator<char>(environment), {}};
    const bool is_child = fields.find(fmt::format("PPid:\t{}\n", launcher)) != std::string::npos;
    const std::string wanted = fmt::format("{}RANK={}{}", '\0', rank, '\0');
    if (is_child && ('\0' + variables).find(wanted) != std::string::npos) return std::stoi(name);
  }
  return -1;
}

TEST_F(TrainRanks, ARankThatIsKilledEndsTheJobWhichCanBeResumed) {
  const TemporaryFolder folder;
  const std::string arguments = train_arguments("run") + " --nproc 2";
  const int status = disturbed_training(arguments, folder.path(), [](int launcher) {
    const pid_t rank = process_of_rank(launcher, 1);
    ASSERT_GT(rank, 0);
    kill(rank, SIGKILL);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_THAT(read_file(folder / "err"), HasSubstr("rank 1 is gone"));
  EXPECT_THAT(read_file(folder / "err"), HasSubstr("rank 1 of 2 was killed by signal 9"));
  const Outcome outcome = yoloquant(arguments + " --resume", folder.path());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  expect_same_end(folder / "run", finished_run("--nproc 2"));
}

TEST_F(TrainRanks, SigtermSavesOnAllTogether) {
  const TemporaryFolder folder;
  const std::string arguments = train_arguments("run") + " --nproc 2";
  const int status =
      disturbed_training(arguments, folder.path(), [](int launcher) { kill(launcher, SIGTERM); });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM) << read_file(folder / "err");
  EXPECT_THAT(read_file(folder / "err"), HasSubstr("go on with --resume"));
  const Outcome other = yoloquant(train_arguments("run") + " --resume", folder.path());
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err, HasSubstr("began with processes 2, not 1"));
  const Outcome outcome = yoloquant(arguments + " --resume", folder.path());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  expect_same_end(folder / "run", finished_run("--nproc 2"));
}

TEST_F(TrainRanks, WrongUse) {
  const TemporaryFolder folder;
  const Outcome uneven = yoloquant(train_arguments("run") + " --nproc 3", folder.path());
  EXPECT_EQ(uneven.status, 2);
  EXPECT_THAT(uneven.err, HasSubstr("--batch 2 is not a multiple of --nproc 3"));
  // All ranks end when the first one does, with its words.
  const Outcome taken = yoloquant(
      train_arguments(finished_run("--freeze-norm").string()) + " --nproc 2", folder.path());
  EXPECT_EQ(taken.status, 1);
  EXPECT_THAT(taken.err, HasSubstr("holds a run already"));
}

}  // namespace
}  // namespace yoloquant::test
