#pragma once

#include <filesystem>
#include <string_view>

namespace yoloquant {

// CPUs' worth of time that control groups leave this process (`docker run --cpus 2`), rounded up;
// 0: no limit. `groups` is the text of /proc/self/cgroup, `root` where cgroup v2, or the `cpu`
// controller of v1, is mounted. The least quota of the process's group and those above it counts.
int cpu_quota(std::string_view groups, const std::filesystem::path& root);

}  // namespace yoloquant
