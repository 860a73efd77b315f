#include "pipeline/environment.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/parallel.h"
#include "base/text.h"
#include "build_info.inc"
#include "runtime/session.h"

namespace yoloquant::pipeline {
namespace {

// The text behind "KEY :" on the first line that starts with KEY; "" when there is none.
std::string field_of(const std::filesystem::path& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (line.starts_with(key) && colon != std::string::npos) return trim(line.substr(colon + 1));
  }
  return "";
}

std::string operating_system() {
  std::ifstream file("/etc/os-release");
  std::string name = "Linux";
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    name = line.substr(line.find('=') + 1);
    std::erase(name, '"');
  }
  struct utsname kernel = {};
  if (uname(&kernel) == 0) name += fmt::format(", kernel {}, {}", kernel.release, kernel.machine);
  return name;
}

// NVIDIA's driver tells without any of its libraries.
std::vector<std::string> gpu_names() {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc/driver/nvidia/gpus", error), end;
       !error && at != end; at.increment(error)) {
    const std::string model = field_of(at->path() / "information", "Model");
    names.push_back(model.empty() ? at->path().filename().string() : model);
  }
  return names;
}

}  // namespace

Environment environment() {
  Environment result;
  result.yoloquant_version = kVersion;
  result.git_hash = kGitHash;
  result.compiler = kCompiler;
  result.libraries["onnxruntime"] = runtime::version();
  result.libraries["opencv"] = kOpenCvVersion;
  result.operating_system = operating_system();
  result.cpu_model = field_of("/proc/cpuinfo", "model name");
  result.cpus = default_threads();
  result.memory_bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  result.gpus = gpu_names();
  return result;
}

nlohmann::ordered_json environment_json(const Environment& environment) {
  return {{"yoloquant", environment.yoloquant_version},
          {"git_hash", environment.git_hash},
          {"compiler", environment.compiler},
          {"libraries", environment.libraries},
          {"operating_system", environment.operating_system},
          {"cpu_model", environment.cpu_model},
          {"cpus", environment.cpus},
          {"memory_bytes", environment.memory_bytes},
          {"gpus", environment.gpus}};
}

std::string code_version() { return fmt::format("{} {}", kVersion, kGitHash); }

}  // namespace yoloquant::pipeline
