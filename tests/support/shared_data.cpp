#include "support/shared_data.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace yoloquant::test {

namespace fs = std::filesystem;

fs::path shared_data() {
  const char* set = std::getenv("YOLOQUANT_SHARED");
  const fs::path root = set != nullptr ? fs::path(set) : source_folder() / ".." / "shared";
  if (!fs::exists(root / "data" / "golden")) return {};
  return fs::weakly_canonical(root) / "data";
}

fs::path source_folder() { return YOLOQUANT_SOURCE_DIR; }

fs::path build_folder() { return YOLOQUANT_BINARY_DIR; }

std::string python() {
  const std::string path = YOLOQUANT_PYTHON;
  return fs::exists(path) ? path : "";
}

int run_command(const std::string& command, std::string* output) {
  output->clear();
  FILE* pipe = popen(("( " + command + " ) 2>&1").c_str(), "r");
  if (pipe == nullptr) return -1;
  std::array<char, 4096> buffer;
  size_t count = 0;
  while ((count = fread(buffer.data(), 1, buffer.size(), pipe)) > 0) {
    output->append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace yoloquant::test
