#include "cli/command.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/interrupt.h"
#include "cli/terminal.h"

namespace yoloquant::cli {

namespace {

LogLevel parse_level(const CommonOptions& common) {
  if (common.quiet || common.log_level == "error") return LogLevel::kError;
  if (common.log_level == "warning") return LogLevel::kWarning;
  return common.log_level == "debug" ? LogLevel::kDebug : LogLevel::kInfo;
}

}  // namespace

Context::Context(const CommonOptions& common) : common_(common), level_(parse_level(common)) {
  if (level_ >= LogLevel::kInfo && stderr_is_terminal()) {
    terminal_ = std::make_unique<TerminalProgress>();
  }
  Progress& sink = terminal_ ? *terminal_ : Progress::none();
  progress_ = std::make_unique<InterruptibleProgress>(sink);
}

Context::~Context() = default;

void Context::result(const nlohmann::ordered_json& json, const std::string& text) {
  if (terminal_) terminal_->clear();
  // File names may hold bytes that are no UTF-8.
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  const std::string out = common_.json ? json.dump(2, ' ', false, replace) + "\n" : text;
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
}

void Context::log(LogLevel level, const std::string& text) {
  if (level > level_) return;
  if (terminal_) terminal_->clear();
  const char* mark = level == LogLevel::kWarning ? "warning: " : "";
  fmt::print(stderr, "{}{}\n", mark, text);
}

void declare_common(Options& options, CommonOptions* common, bool has_json) {
  options.section("Common");
  options.add("threads", &common->threads, "CPU threads; 0: all CPUs of this process").at_least(0);
  if (has_json) options.add("json", &common->json, "print results as JSON on stdout");
  options.add("quiet", &common->quiet, "no messages and no progress, errors only");
  options.add("log-level", &common->log_level, "how much is said on stderr")
      .one_of({"error", "warning", "info", "debug"});
}

}  // namespace yoloquant::cli
