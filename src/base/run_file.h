#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace yoloquant {

// A file in which a run leaves work in progress, to go on with after an interruption. A fingerprint
// tells runs apart: what another run has left is not gone on with.
class RunFile {
 public:
  // No file.
  RunFile() = default;
  RunFile(std::filesystem::path path, std::string fingerprint);

  const std::filesystem::path& path() const { return path_; }
  const std::string& fingerprint() const { return fingerprint_; }
  bool enabled() const { return !path_.empty(); }
  bool exists() const;
  // Error unless `found`, which stands in the file, is this run's.
  void expect_own(std::string_view found) const;
  void remove() const;

 private:
  std::filesystem::path path_;
  std::string fingerprint_;
};

}  // namespace yoloquant
