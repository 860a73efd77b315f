#pragma once

#include <fmt/format.h>

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "cli/options.h"

namespace yoloquant::cli {

class TerminalProgress;

enum class LogLevel : uint8_t { kError, kWarning, kInfo, kDebug };

// Options that every command has.
struct CommonOptions {
  int threads = 0;
  bool json = false;
  bool quiet = false;
  std::string log_level = "info";
};

// What a running command works with. Results go to stdout, everything else to stderr.
class Context {
 public:
  explicit Context(const CommonOptions& common);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  int threads() const { return common_.threads; }
  bool json() const { return common_.json; }
  Progress& progress() { return *progress_; }

  // The options in force, as --dump-config prints them: to keep beside a run's results.
  const std::string& options_yaml() const { return options_yaml_; }
  void set_options_yaml(std::string text) { options_yaml_ = std::move(text); }

  // The program that runs and its arguments: to start it again.
  const std::vector<std::string>& command_line() const { return command_line_; }
  void set_command_line(std::vector<std::string> words) { command_line_ = std::move(words); }

  // A result: `json` with --json, else `text`.
  void result(const nlohmann::ordered_json& json, const std::string& text);

  template <typename... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) {
    log(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) {
    log(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
  }
  void log(LogLevel level, const std::string& text);

 private:
  CommonOptions common_;
  std::string options_yaml_;
  std::vector<std::string> command_line_;
  LogLevel level_;
  std::unique_ptr<TerminalProgress> terminal_;  // null unless stderr is one
  std::unique_ptr<Progress> progress_;          // stops loops when a signal came
};

struct Example {
  std::string what;
  std::string line;  // "yoloquant export ..."
};

// One use of a command: its options, and what it does.
class Invocation {
 public:
  virtual ~Invocation() = default;
  virtual void declare(Options& options) = 0;
  // Whether this program can run it.
  virtual bool available() const = 0;
  // Returns the exit status. Throws Error.
  virtual int run(Context& context) = 0;
};

// Which program has a command: `yoloquant` itself starts within milliseconds, the others load more.
enum class Program : uint8_t {
  kMain,         // bin/yoloquant
  kImageEngine,  // libexec/yoloquant/yoloquant-image-engine, with OpenCV
  kEngine,       // libexec/yoloquant/yoloquant-engine, with OpenCV and LibTorch
};

struct CommandInfo {
  std::string name;  // "export", "onnx check"
  std::string summary;
  std::string details;
  std::vector<Example> examples;
  Program program = Program::kMain;
  bool has_json = true;            // prints results
  bool config_positional = false;  // the first argument may be a configuration file instead
};

struct Command {
  CommandInfo info;
  std::function<std::unique_ptr<Invocation>()> make;
};

// What a command does with its arguments. Null in a program that leaves it to another.
template <typename Arguments>
using Runner = int (*)(const Arguments&, Context&);

// REQUIRES: Arguments has `void declare(Options&)`.
template <typename Arguments>
Command define(CommandInfo info, Runner<Arguments> runner) {
  class Typed : public Invocation {
   public:
    explicit Typed(Runner<Arguments> runner) : runner_(runner) {}
    void declare(Options& options) override { arguments_.declare(options); }
    bool available() const override { return runner_ != nullptr; }
    int run(Context& context) override { return runner_(arguments_, context); }

   private:
    Arguments arguments_;
    Runner<Arguments> runner_;
  };
  return {std::move(info), [runner] { return std::make_unique<Typed>(runner); }};
}

// Adds the options that every command has.
void declare_common(Options& options, CommonOptions* common, bool has_json);

}  // namespace yoloquant::cli
