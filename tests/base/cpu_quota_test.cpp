#include "base/cpu_quota.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace yoloquant {
namespace {

class CpuQuota : public testing::Test {
 protected:
  void write(const std::string& name, std::string_view text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write_file(folder_ / name, text);
  }
  int quota(std::string_view groups) const { return cpu_quota(groups, folder_.path()); }

  test::TemporaryFolder folder_;
};

TEST_F(CpuQuota, NoneWithoutGroupsOrLimits) {
  EXPECT_EQ(quota(""), 0);
  EXPECT_EQ(quota("0::/a\n"), 0);
  write("cpu.max", "max 100000\n");
  EXPECT_EQ(quota("0::/\n"), 0);
}

TEST_F(CpuQuota, OfTheGroupInAContainer) {
  write("cpu.max", "150000 100000\n");
  EXPECT_EQ(quota("0::/\n"), 2);
  // A path that only the host has.
  EXPECT_EQ(quota("0::/docker/0123\n"), 2);
}

TEST_F(CpuQuota, TheLeastOnTheWayUpCounts) {
  write("cpu.max", "max 100000\n");
  write("user/cpu.max", "300000 100000\n");
  write("user/job/cpu.max", "800000 100000\n");
  EXPECT_EQ(quota("0::/user/job\n"), 3);
  write("user/job/cpu.max", "1000 100000\n");
  EXPECT_EQ(quota("0::/user/job\n"), 1);
}

TEST_F(CpuQuota, OfVersionOne) {
  write("job/cpu.cfs_quota_us", "400000\n");
  write("job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota("3:memory:/other\n2:cpu,cpuacct:/job\n1:name=systemd:/x\n"), 4);
  write("job/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quota("2:cpu,cpuacct:/job\n"), 0);
}

TEST_F(CpuQuota, IgnoresWhatIsNotANumber) {
  write("cpu.max", "lots\n");
  EXPECT_EQ(quota("0::/\n"), 0);
  write("cpu.max", "100000 0\n");
  EXPECT_EQ(quota("nonsense\n0::/\n"), 0);
}

}  // namespace
}  // namespace yoloquant
