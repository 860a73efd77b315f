#include "base/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"

namespace yoloquant {

namespace {

// Of a group's folder: "MICROSECONDS PERIOD" or "max PERIOD" in one file (v2), or in two (v1).
std::optional<double> quota_of(const std::filesystem::path& folder) {
  double quota = 0;
  double period = 0;
  std::ifstream v2(folder / "cpu.max");
  if (v2) {
    v2 >> quota >> period;
    if (v2.fail()) return std::nullopt;  // "max"
  } else {
    std::ifstream of_quota(folder / "cpu.cfs_quota_us");
    std::ifstream of_period(folder / "cpu.cfs_period_us");
    if (!(of_quota >> quota) || !(of_period >> period)) return std::nullopt;
  }
  if (!(quota > 0) || !(period > 0)) return std::nullopt;
  return quota / period;
}

// Of the line "0::PATH" (v2) or "N:...,cpu,...:PATH" (v1).
std::string group_of(std::string_view groups) {
  std::string found;
  for (const std::string& line : split(groups, '\n')) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::vector<std::string> controllers =
        split(line.substr(first + 1, second - first - 1), ',');
    const bool is_cpu =
        std::find(controllers.begin(), controllers.end(), "cpu") != controllers.end();
    if (is_cpu) return line.substr(second + 1);
    if (second == first + 1) found = line.substr(second + 1);
  }
  return found;
}

}  // namespace

int cpu_quota(std::string_view groups, const std::filesystem::path& root) {
  std::filesystem::path group = std::filesystem::path(group_of(groups)).relative_path();
  std::optional<double> least = quota_of(root);
  // In a container the path may be the host's, and only the root is there.
  for (; !group.empty(); group = group.parent_path()) {
    const std::optional<double> own = quota_of(root / group);
    if (own) least = least ? std::min(*least, *own) : *own;
  }
  return least ? std::max(1, static_cast<int>(std::min(std::ceil(*least), 1e6))) : 0;
}

}  // namespace yoloquant
