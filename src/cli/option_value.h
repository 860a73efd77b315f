#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>

// Values of options to and from text. Parsers throw Error (usage) that says what was expected.
namespace yoloquant::cli {

int64_t parse_integer(const std::string& text, int64_t low, int64_t high);
uint64_t parse_unsigned(const std::string& text);
double parse_number(const std::string& text);
bool parse_bool(const std::string& text);

// Shortest text that reads back as the same number.
std::string number_text(double value);
std::string number_text(float value);

template <typename T>
struct OptionValue;

template <>
struct OptionValue<bool> {
  static constexpr const char* kPlaceholder = "";
  static bool parse(const std::string& text) { return parse_bool(text); }
  static std::string print(bool value) { return value ? "true" : "false"; }
};

template <typename T>
  requires(std::is_integral_v<T> && std::is_signed_v<T>)
struct OptionValue<T> {
  static constexpr const char* kPlaceholder = "N";
  static T parse(const std::string& text) {
    return static_cast<T>(
        parse_integer(text, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  }
  static std::string print(T value) { return std::to_string(value); }
};

template <>
struct OptionValue<uint64_t> {
  static constexpr const char* kPlaceholder = "N";
  static uint64_t parse(const std::string& text) { return parse_unsigned(text); }
  static std::string print(uint64_t value) { return std::to_string(value); }
};

template <typename T>
  requires(std::is_floating_point_v<T>)
struct OptionValue<T> {
  static constexpr const char* kPlaceholder = "X";
  static T parse(const std::string& text) { return static_cast<T>(parse_number(text)); }
  static std::string print(T value) { return number_text(value); }
};

template <>
struct OptionValue<std::string> {
  static constexpr const char* kPlaceholder = "TEXT";
  static std::string parse(const std::string& text) { return text; }
  static std::string print(const std::string& value) { return value; }
};

template <>
struct OptionValue<std::filesystem::path> {
  static constexpr const char* kPlaceholder = "PATH";
  static std::filesystem::path parse(const std::string& text) { return text; }
  static std::string print(const std::filesystem::path& value) { return value.string(); }
};

}  // namespace yoloquant::cli
