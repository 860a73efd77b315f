#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/pickle_reader.h"

// Pickles made by hand, opcode for opcode.
namespace yoloquant::checkpoint::test {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string le32(uint32_t value) {
  std::string text;
  for (int shift = 0; shift < 32; shift += 8) text += static_cast<char>(value >> shift);
  return text;
}

inline std::string le64(uint64_t value) {
  return le32(static_cast<uint32_t>(value)) + le32(static_cast<uint32_t>(value >> 32));
}

inline std::string global(const std::string& module, const std::string& name) {
  return std::string("c") + module + "\n" + name + "\n";
}

inline std::string text(const std::string& contents) {
  return std::string("X") + le32(static_cast<uint32_t>(contents.size())) + contents;
}

inline std::string protocol2(const std::string& body) {
  return std::string("\x80\x02", 2) + body + ".";
}

inline Value read_body(const std::string& body, const PickleLimits& limits = {}) {
  PickleHooks hooks;
  const std::string pickle = protocol2(body);
  return read_pickle(bytes_of(pickle), "data.pkl", hooks, limits);
}

// The message of the Error that reading ends in, "" when there is none.
inline std::string read_error(const std::string& body, const PickleLimits& limits = {}) {
  try {
    read_body(body, limits);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace yoloquant::checkpoint::test
