#include "pipeline/stage.h"

#include <chrono>
#include <mutex>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "pipeline/environment.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Digests of files, remembered while size and time of a file stay: a run hashes its models and
// images for several stages.
std::string digest(const fs::path& path) {
  using Identity = std::tuple<std::string, uintmax_t, fs::file_time_type>;
  static std::mutex mutex;
  static std::map<Identity, std::string> known;
  if (!fs::is_regular_file(path)) fail("{}: no such file", path.string());
  const Identity identity{fs::absolute(path).string(), fs::file_size(path),
                          fs::last_write_time(path)};
  const std::lock_guard lock(mutex);
  std::string& value = known[identity];
  if (value.empty()) value = sha256_of_file(path);
  return value;
}

std::map<std::string, std::string> output_digests(const RunRoot& root, const Stage& stage) {
  std::map<std::string, std::string> digests;
  for (const fs::path& output : stage.outputs) {
    digests[output.string()] = sha256_of_file(root.path() / output);
  }
  return digests;
}

// Puts the stage's name in front of its tasks, and stops when asked to.
class StageProgress : public InterruptibleProgress {
 public:
  StageProgress(Progress& sink, std::string stage)
      : InterruptibleProgress(sink), stage_(std::move(stage)) {}

  void start(std::string_view task, int64_t total) override {
    InterruptibleProgress::start(fmt::format("{}: {}", stage_, task), total);
  }

 private:
  std::string stage_;
};

bool outputs_unchanged(const RunRoot& root, const Stage& stage, const JournalEntry& entry) {
  for (const fs::path& output : stage.outputs) {
    const auto recorded = entry.outputs.find(output.string());
    const fs::path path = root.path() / output;
    if (recorded == entry.outputs.end() || !fs::is_regular_file(path)) return false;
    if (sha256_of_file(path) != recorded->second) return false;
  }
  return true;
}

}  // namespace

std::string stage_key(const Stage& stage) {
  nlohmann::ordered_json inputs = nlohmann::ordered_json::array();
  for (const fs::path& input : stage.inputs) inputs.push_back(digest(input));
  return sha256(nlohmann::ordered_json{
      {"code", code_version()},
      {"stage", stage.name},
      {"options", stage.options},
      {"inputs",
       inputs}}.dump());
}

StageResult run_stage(RunRoot& root, const Stage& stage, Progress& progress) {
  check_interrupt();
  return with_context(stage.name, [&]() -> StageResult {
    const std::string key = stage_key(stage);
    if (const auto done = root.find(stage.name, key);
        done && outputs_unchanged(root, stage, *done)) {
      root.log(stage.name + ": done before");
      return {stage.name, done->seconds, true};
    }
    root.log(stage.name + ": start");
    const Clock::time_point start = Clock::now();
    try {
      StageProgress stage_progress(progress, stage.name);
      stage.run(stage_progress);
    } catch (const std::exception& error) {
      root.log(fmt::format("{}: failed: {}", stage.name, error.what()));
      throw;
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    root.append({stage.name, key, output_digests(root, stage), seconds});
    root.log(fmt::format("{}: finished in {}", stage.name, human_seconds(seconds)));
    return {stage.name, seconds, false};
  });
}

}  // namespace yoloquant::pipeline
