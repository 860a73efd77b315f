#include "base/run_file.h"

#include <system_error>
#include <utility>

#include "base/error.h"

namespace yoloquant {

RunFile::RunFile(std::filesystem::path path, std::string fingerprint)
    : path_(std::move(path)), fingerprint_(std::move(fingerprint)) {}

bool RunFile::exists() const { return enabled() && std::filesystem::exists(path_); }

void RunFile::expect_own(std::string_view found) const {
  if (found == fingerprint_) return;
  fail("{} belongs to a run with other settings; delete it, or leave out --resume", path_.string());
}

void RunFile::remove() const {
  std::error_code ignored;
  if (enabled()) std::filesystem::remove(path_, ignored);
}

}  // namespace yoloquant
