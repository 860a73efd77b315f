#include "pipeline/run_root.h"

#include <fcntl.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/file.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kJournal = "journal.jsonl";
constexpr const char* kLock = ".lock";

std::string entry_line(const JournalEntry& entry) {
  return ordered_json{{"stage", entry.stage},
                      {"key", entry.key},
                      {"outputs", entry.outputs},
                      {"seconds", entry.seconds}}
             .dump() +
         "\n";
}

JournalEntry parse_entry(const std::string& line) {
  try {
    const auto json = nlohmann::json::parse(line);
    JournalEntry entry;
    entry.stage = json.at("stage").get<std::string>();
    entry.key = json.at("key").get<std::string>();
    entry.outputs = json.at("outputs").get<std::map<std::string, std::string>>();
    entry.seconds = json.at("seconds").get<double>();
    return entry;
  } catch (const nlohmann::json::exception& error) {
    fail("not a journal entry: {}", error.what());
  }
}

// What AtomicFile leaves when the process is killed: ".NAME.PID.COUNT.tmp.EXT".
void remove_left_overs(const fs::path& root) {
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name.starts_with(".") &&
        name.find(".tmp") != std::string::npos) {
      std::error_code ignored;
      fs::remove(entry.path(), ignored);
    }
  }
}

}  // namespace

struct RunRoot::Log {
  std::shared_ptr<spdlog::logger> logger;
};

std::string make_run_id() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc = {};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}{:02}{:02}-{:02}{:02}{:02}-{:04x}", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     std::random_device()() & 0xFFFFU);
}

fs::path default_run_root(const fs::path& base, const std::string& name) {
  return base / "tmp" / name / make_run_id();
}

RunRoot::RunRoot(const fs::path& path, RunMode mode) : path_(path), log_(std::make_unique<Log>()) {
  std::error_code error;
  if (mode == RunMode::kResume && !fs::exists(path_ / kJournal)) {
    fail("{}: there is no run to resume (no {})", path_.string(), kJournal);
  }
  fs::create_directories(path_ / "logs", error);
  if (error) fail("{}: cannot make the run's folder: {}", path_.string(), error.message());
  lock();
  try {
    read_journal(mode);
    remove_left_overs(path_);
    log_->logger = std::make_shared<spdlog::logger>(
        "run", std::make_shared<spdlog::sinks::basic_file_sink_mt>(
                   (path_ / "logs" / "run.log").string(), /*truncate=*/false));
    log_->logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %v");
    log_->logger->flush_on(spdlog::level::info);
  } catch (const std::exception& problem) {
    close(lock_file_);
    fail("{}: {}", path_.string(), problem.what());
  }
}

RunRoot::~RunRoot() { close(lock_file_); }

void RunRoot::lock() {
  lock_file_ = open((path_ / kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_file_ < 0) {
    fail("{}: cannot open the lock: {}", path_.string(), std::strerror(errno));
  }
  // Belongs to the open file: it is gone with the process, however that ends.
  if (flock(lock_file_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    close(lock_file_);
    if (reason == EWOULDBLOCK) {
      fail("{}: another run is at work in this folder; wait for it or name another --out",
           path_.string());
    }
    fail("{}: cannot lock: {}", path_.string(), std::strerror(reason));
  }
}

void RunRoot::read_journal(RunMode mode) {
  const fs::path file = path_ / kJournal;
  if (!fs::exists(file)) {
    write_file(file, "");
    return;
  }
  std::string text = yoloquant::read_file(file);
  if (mode == RunMode::kNew && !text.empty()) {
    fail("holds a run already: continue it with --resume, or name another --out");
  }
  const size_t whole = text.rfind('\n') + 1;  // 0 when there is no line break
  if (whole != text.size()) {
    text.resize(whole);
    write_file(file, text);
  }
  size_t start = 0;
  for (size_t number = 1; start < text.size(); ++number) {
    const size_t end = text.find('\n', start);
    journal_.push_back(with_context(fmt::format("{}, line {}", kJournal, number),
                                    [&] { return parse_entry(text.substr(start, end - start)); }));
    start = end + 1;
  }
}

std::optional<JournalEntry> RunRoot::find(std::string_view stage, std::string_view key) const {
  for (auto entry = journal_.rbegin(); entry != journal_.rend(); ++entry) {
    if (entry->stage == stage && entry->key == key) return *entry;
  }
  return std::nullopt;
}

void RunRoot::append(const JournalEntry& entry) {
  const fs::path path = path_ / kJournal;
  const std::string line = entry_line(entry);
  const int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  bool ok = file >= 0;
  ok = ok && write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  ok = ok && fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) close(file);
  if (!ok) fail("{}: cannot write: {}", path.string(), std::strerror(reason));
  journal_.push_back(entry);
}

void RunRoot::log(std::string_view line) { log_->logger->info("{}", line); }

}  // namespace yoloquant::pipeline
