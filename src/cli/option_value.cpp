#include "cli/option_value.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace yoloquant::cli {

namespace {

template <typename T>
bool read_whole(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  return status == std::errc() && rest == end;
}

}  // namespace

int64_t parse_integer(const std::string& text, int64_t low, int64_t high) {
  int64_t value = 0;
  if (!read_whole(text, value)) fail_usage("\"{}\" is not a whole number", text);
  if (value < low || value > high) fail_usage("{} is not in {}..{}", text, low, high);
  return value;
}

uint64_t parse_unsigned(const std::string& text) {
  uint64_t value = 0;
  if (!read_whole(text, value)) fail_usage("\"{}\" is not a whole number of 0 or more", text);
  return value;
}

double parse_number(const std::string& text) {
  double value = 0;
  if (!read_whole(text, value) || !std::isfinite(value)) fail_usage("\"{}\" is not a number", text);
  return value;
}

bool parse_bool(const std::string& text) {
  const std::string word = lower(text);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return true;
  if (word == "false" || word == "no" || word == "off" || word == "0") return false;
  fail_usage("\"{}\" is neither true nor false", text);
}

std::string number_text(double value) { return fmt::format("{}", value); }
std::string number_text(float value) { return fmt::format("{}", value); }

}  // namespace yoloquant::cli
