#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <string_view>

namespace yoloquant::quant {

enum class Effort : uint8_t { kFast, kNormal, kMax };
Effort parse_effort(std::string_view name);  // "fast", "normal", "max"; Error (usage)
std::string_view effort_name(Effort effort);

// What a method may spend. The clock runs from construction.
class Budget {
 public:
  explicit Budget(Effort effort = Effort::kFast,
                  double seconds = std::numeric_limits<double>::infinity(), uint64_t seed = 0)
      : effort_(effort), seconds_(seconds), seed_(seed), start_(Clock::now()) {}

  Effort effort() const { return effort_; }
  uint64_t seed() const { return seed_; }
  double elapsed_seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }
  double seconds_left() const { return seconds_ - elapsed_seconds(); }
  bool expired() const { return seconds_left() <= 0; }

 private:
  using Clock = std::chrono::steady_clock;

  Effort effort_;
  double seconds_;
  uint64_t seed_;
  Clock::time_point start_;
};

}  // namespace yoloquant::quant
