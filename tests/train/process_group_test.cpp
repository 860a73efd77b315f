#include "train/process_group.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

#include "base/file.h"
#include "support/temporary_folder.h"
#include "train/process_group_backend.h"
#include "train/ranks.h"
#include "train/tensors.h"

namespace yoloquant::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ProcessGroup, SumsOverTheRanks) {
  in_ranks(3, [](ProcessGroup& group) {
    ASSERT_EQ(group.size(), 3);
    const auto rank = static_cast<float>(group.rank());
    const at::Tensor own = floats({2}, {rank, 10 * rank + 1});
    EXPECT_THAT(values_of(group.sum(own)), ElementsAre(3, 33));
    EXPECT_THAT(values_of(own), ElementsAre(rank, 10 * rank + 1));

    const at::Tensor first = floats({1}, {rank + 1});
    const at::Tensor second = floats({1}, {rank * rank});
    const auto wait_first = group.start_sum(first);
    const auto wait_second = group.start_sum(second);
    wait_second();
    wait_first();
    EXPECT_THAT(values_of(first), ElementsAre(6));
    EXPECT_THAT(values_of(second), ElementsAre(5));
  });
}

TEST(ProcessGroup, BroadcastsTheStateOfRankZero) {
  in_ranks(2, [](ProcessGroup& group) {
    const auto rank = static_cast<float>(group.rank());
    exec::NamedTensors state = {{"weight", floats({2, 2}, {rank, 1, 2, 3}).requires_grad_(true)},
                                {"mean", floats({1, 2}, {rank, rank}).t()},
                                {"batches", integers({group.rank() + 7})}};
    group.broadcast(state);
    EXPECT_THAT(values_of(state["weight"]), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(values_of(state["mean"].contiguous()), ElementsAre(0, 0));
    EXPECT_EQ(state["batches"].item<int64_t>(), 7);
  });
}

TEST(ProcessGroup, OneRankIsEnoughForAny) {
  in_ranks(2, [](ProcessGroup& group) {
    EXPECT_TRUE(group.any(group.rank() == 1));
    EXPECT_FALSE(group.any(false));
  });
}

TEST(ProcessGroup, OfOneNeedsNoOther) {
  ProcessGroup group;
  EXPECT_EQ(group.size(), 1);
  EXPECT_THAT(values_of(group.sum(floats({1}, {3}))), ElementsAre(3));
  EXPECT_TRUE(group.any(true));
  EXPECT_FALSE(group.any(false));
  group.start_sum(floats({1}, {3}))();
  group.barrier();
}

TEST(ProcessGroup, SaysWhereItWaitedInVain) {
  if (!loopback_is_allowed()) GTEST_SKIP() << "no sockets on 127.0.0.1 here";
  RankEnvironment lonely{.rank = 0, .world_size = 2, .master_port = free_loopback_port()};
  const ProcessGroupOptions impatient{.join_timeout = std::chrono::milliseconds(300)};
  for (lonely.rank = 0; lonely.rank < 2; ++lonely.rank) {
    try {
      ProcessGroup group(lonely, impatient);
      FAIL();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("rank " + std::to_string(lonely.rank) + " of 2"));
      EXPECT_THAT(error.what(), HasSubstr("127.0.0.1:" + std::to_string(lonely.master_port)));
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
}

TEST(ProcessGroup, SaysThatGpusNeedNccl) {
  if (nccl_is_built_in()) GTEST_SKIP() << "this build has NCCL";
  try {
    ProcessGroup group({.rank = 1, .world_size = 2}, {.device = "cuda:1"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kUsage);
    EXPECT_THAT(error.what(), HasSubstr("NCCL"));
  }
}

// Ranks of a group of which one ends in the middle of a sum: it is killed, or an error ends it.
struct Loss {
  int rank;
  bool killed;
};
class LostRank : public testing::TestWithParam<Loss> {
 protected:
  // What each rank caught is in FOLDER/messageRANK, how it ended in FOLDER/statusRANK.
  static constexpr const char* kFolder = "YOLOQUANT_TEST_RANKS_FOLDER";

  void SetUp() override {
    if (!loopback_is_allowed()) GTEST_SKIP() << "no sockets on 127.0.0.1 here";
  }

  static std::string launch(const std::filesystem::path& folder, int ranks) {
    setenv(kFolder, folder.c_str(), 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    const std::string script = fmt::format(
        "/proc/{}/exe --gtest_filter={} --gtest_brief=1; status=$?; echo $status > {}/status$RANK; "
        "exit $status",
        getpid(), current_test(), folder.string());
    try {
      // Much patience: the others are to end by themselves.
      launch_ranks({.command = {"/bin/sh", "-c", script},
                    .processes = ranks,
                    .notice = std::chrono::minutes(2)});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_P(LostRank, IsNamedByTheOthers) {
  constexpr int kRanks = 4;
  const int lost = GetParam().rank;
  if (const auto environment = rank_environment()) {
    ProcessGroup group(*environment);
    try {
      for (int step = 0; step < 1000; ++step) {
        const at::Tensor buffer = at::ones({100'000});
        const auto wait = group.start_sum(buffer);
        if (group.rank() == lost && step == 3) {
          if (GetParam().killed) std::raise(SIGKILL);
          throw std::runtime_error("no more images");
        }
        group.sum(at::ones({1}));
        wait();
      }
    } catch (const Error& error) {
      write_file(fmt::format("{}/message{}", std::getenv(kFolder), group.rank()), error.what());
      EXPECT_THROW(group.sum(at::ones({1})), Error);
      return;
    }
    FAIL() << "nobody missed rank " << lost;
  }
  const test::TemporaryFolder folder;
  const std::string report = launch(folder.path(), kRanks);
  const std::string ending = GetParam().killed ? "137" : "1";
  EXPECT_THAT(report, HasSubstr(fmt::format("rank {} of 4 ended with status {}", lost, ending)));
  for (int rank = 0; rank < kRanks; ++rank) {
    const std::string status = read_file(folder / fmt::format("status{}", rank));
    EXPECT_EQ(status, rank == lost ? ending + "\n" : "0\n") << rank;
    if (rank == lost) continue;
    EXPECT_THAT(read_file(folder / fmt::format("message{}", rank)),
                HasSubstr(fmt::format("rank {} is gone", lost)));
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, LostRank,
                         testing::Values(Loss{0, true}, Loss{2, true}, Loss{1, false}));

}  // namespace
}  // namespace yoloquant::train
