#include "base/rank_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/error.h"

namespace yoloquant {
namespace {

using Variables = std::map<std::string, std::string>;

// What rank_environment() gives when of all launchers' variables only these are set.
std::optional<RankEnvironment> with(const Variables& variables) {
  for (const char* name :
       {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "PMI_RANK", "PMI_SIZE",
        "MPI_LOCALRANKID", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"}) {
    unsetenv(name);
  }
  for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  return rank_environment();
}

std::string complaint(const Variables& variables) {
  try {
    with(variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kUsage);
    return error.what();
  }
  return "";
}

TEST(RankEnvironment, IsThatOfTorchrun) {
  const auto found = with({{"RANK", "3"},
                           {"WORLD_SIZE", "8"},
                           {"LOCAL_RANK", "1"},
                           {"MASTER_ADDR", "node0"},
                           {"MASTER_PORT", "1234"}});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->rank, 3);
  EXPECT_EQ(found->world_size, 8);
  EXPECT_EQ(found->local_rank, 1);
  EXPECT_EQ(found->master_address, "node0");
  EXPECT_EQ(found->master_port, 1234);
  EXPECT_EQ(with({{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "a"}})->local_rank, 3);
}

TEST(RankEnvironment, SurvivesBeingPassedOn) {
  const RankEnvironment given{
      .rank = 2, .world_size = 3, .local_rank = 1, .master_address = "::1", .master_port = 4321};
  const auto variables = variables_of(given);
  const auto found = with(Variables(variables.begin(), variables.end()));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(variables_of(*found), variables);
}

TEST(RankEnvironment, MpirunAndSrunCountWhenAnAddressIsGiven) {
  const Variables mpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                         {"OMPI_COMM_WORLD_SIZE", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}};
  EXPECT_FALSE(with(mpi).has_value());
  Variables meeting = mpi;
  meeting["MASTER_ADDR"] = "node0";
  EXPECT_EQ(with(meeting)->rank, 1);
  EXPECT_EQ(with(meeting)->local_rank, 0);
  const auto slurm = with({{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "6"}, {"MASTER_ADDR", "n"}});
  EXPECT_EQ(slurm->rank, 5);
  EXPECT_EQ(slurm->world_size, 6);
  EXPECT_FALSE(with({}).has_value());
}

TEST(RankEnvironment, NamesWhatIsWrong) {
  using testing::HasSubstr;
  EXPECT_THAT(complaint({{"RANK", "0"}}), HasSubstr("WORLD_SIZE is not"));
  EXPECT_THAT(complaint({{"WORLD_SIZE", "2"}}), HasSubstr("RANK is not"));
  EXPECT_THAT(complaint({{"RANK", "0"}, {"WORLD_SIZE", "2"}}), HasSubstr("MASTER_ADDR is not"));
  const Variables good = {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "n"}};
  EXPECT_EQ(complaint(good), "");
  const auto changed = [&](const std::string& name, const std::string& value) {
    Variables variables = good;
    variables[name] = value;
    return complaint(variables);
  };
  EXPECT_THAT(changed("RANK", "2"), HasSubstr("RANK=2 should be a number from 0 to 1"));
  EXPECT_THAT(changed("RANK", "-1"), HasSubstr("RANK=-1"));
  EXPECT_THAT(changed("WORLD_SIZE", "two"), HasSubstr("WORLD_SIZE=two"));
  EXPECT_THAT(changed("WORLD_SIZE", "99999999999"), HasSubstr("WORLD_SIZE=99999999999"));
  EXPECT_THAT(changed("MASTER_PORT", "70000"), HasSubstr("MASTER_PORT=70000"));
  EXPECT_THAT(changed("MASTER_ADDR", ""), HasSubstr("MASTER_ADDR is empty"));
}

}  // namespace
}  // namespace yoloquant
