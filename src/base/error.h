#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace yoloquant {

// The one exception type of the project. `what()` is a single line that says what is wrong, where
// (file, key, byte offset) and, where it is known, what to do. Callers that know more about the
// place prepend it with `add_context`, so that the line reads from the outside in:
//   "yolov10n.pt: data.pkl, byte 412: memo index 9 was never stored"
class Error : public std::runtime_error {
 public:
  enum class Kind {
    kFailure,  // the job failed: exit status 1
    kUsage,    // the request makes no sense: exit status 2
  };

  explicit Error(std::string message, Kind kind = Kind::kFailure)
      : std::runtime_error(message), message_(std::move(message)), kind_(kind) {}

  const char* what() const noexcept override { return message_.c_str(); }
  Kind kind() const { return kind_; }
  int exit_status() const { return kind_ == Kind::kUsage ? 2 : 1; }

  void add_context(const std::string& where) { message_ = where + ": " + message_; }

 private:
  std::string message_;
  Kind kind_;
};

// fail("{}: {} bytes", name, size) throws Error with the formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// As fail, for requests that make no sense (exit status 2).
template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), Error::Kind::kUsage);
}

// Runs `body`; an Error that leaves it gets `where` in front.
template <typename Body>
auto with_context(const std::string& where, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    error.add_context(where);
    throw;
  }
}

}  // namespace yoloquant
