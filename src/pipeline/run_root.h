#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace yoloquant::pipeline {

// "20260314-152637-5f3a": local-independent (UTC), sorts by time.
std::string make_run_id();
// BASE/tmp/NAME/RUN-ID.
std::filesystem::path default_run_root(const std::filesystem::path& base, const std::string& name);

// One finished stage as the journal has it.
struct JournalEntry {
  std::string stage;
  std::string key;                             // hash of options, inputs and code
  std::map<std::string, std::string> outputs;  // path below the root -> SHA-256
  double seconds = 0;
};

enum class RunMode { kNew, kResume };

// The folder of a run: lock, journal and log. Nothing else remembers what was done.
//   RUN_ROOT/.lock, RUN_ROOT/journal.jsonl, RUN_ROOT/logs/run.log
// A journal line is appended and flushed to disk once a stage's outputs are in place. A last line
// that is cut off (a crash while writing) is ignored and removed; any other bad line throws Error.
class RunRoot {
 public:
  // Throws Error when another process holds the lock, for kNew when the folder has a journal
  // already, and for kResume when it has none.
  RunRoot(const std::filesystem::path& path, RunMode mode);
  ~RunRoot();
  RunRoot(const RunRoot&) = delete;
  RunRoot& operator=(const RunRoot&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(std::string_view below) const { return path_ / below; }

  // The latest entry of a stage with this key.
  std::optional<JournalEntry> find(std::string_view stage, std::string_view key) const;
  void append(const JournalEntry& entry);
  const std::vector<JournalEntry>& journal() const { return journal_; }

  // A line with time in logs/run.log; nothing is printed.
  void log(std::string_view line);

 private:
  void lock();
  void read_journal(RunMode mode);

  std::filesystem::path path_;
  std::vector<JournalEntry> journal_;
  int lock_file_ = -1;
  struct Log;
  std::unique_ptr<Log> log_;
};

}  // namespace yoloquant::pipeline
