#include "checkpoint/pickle_scalars.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"

namespace yoloquant::checkpoint {

namespace {

constexpr uint32_t kBillion = 1'000'000'000;

// Decimal digits of an unsigned little-endian number. Quadratic: callers bound the length.
std::string decimal_digits(std::vector<uint8_t> magnitude, bool negative) {
  std::string digits;
  while (!magnitude.empty()) {
    uint64_t remainder = 0;
    for (size_t i = magnitude.size(); i-- > 0;) {
      remainder = (remainder << 8) | magnitude[i];
      magnitude[i] = static_cast<uint8_t>(remainder / kBillion);
      remainder %= kBillion;
    }
    while (!magnitude.empty() && magnitude.back() == 0) magnitude.pop_back();
    for (int digit = 0; digit < 9; ++digit, remainder /= 10) {
      digits += static_cast<char>('0' + remainder % 10);
    }
  }
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back();
  if (negative) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

void negate(std::vector<uint8_t>& bytes) {
  unsigned carry = 1;
  for (uint8_t& byte : bytes) {
    const unsigned sum = static_cast<uint8_t>(~byte) + carry;
    byte = static_cast<uint8_t>(sum);
    carry = sum >> 8;
  }
}

}  // namespace

Value integer_from_bytes(std::span<const std::byte> bytes) {
  const bool negative = !bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{0};
  if (bytes.size() <= sizeof(int64_t)) {
    int64_t value = negative ? -1 : 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  std::vector<uint8_t> magnitude(bytes.size());
  std::memcpy(magnitude.data(), bytes.data(), bytes.size());
  if (negative) negate(magnitude);
  return Value(BigInt{decimal_digits(std::move(magnitude), negative)});
}

std::string integer_to_bytes(const Value& integer) {
  if (integer.kind() == Kind::kInt) {
    const int64_t value = integer.as_int();
    return {reinterpret_cast<const char*>(&value), sizeof value};
  }
  const std::string& decimal = integer.as_big_int();
  const bool negative = decimal.starts_with('-');
  std::vector<uint8_t> magnitude;
  for (const char digit : decimal.substr(negative ? 1 : 0)) {
    if (digit < '0' || digit > '9') fail("\"{}\" is not an integer", decimal);
    unsigned carry = static_cast<unsigned>(digit - '0');
    for (uint8_t& byte : magnitude) {
      carry += byte * 10U;
      byte = static_cast<uint8_t>(carry);
      carry >>= 8;
    }
    if (carry != 0) magnitude.push_back(static_cast<uint8_t>(carry));
  }
  magnitude.push_back(0);  // room for the sign
  if (negative) negate(magnitude);
  return {magnitude.begin(), magnitude.end()};
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4) return false;
    uint32_t code = lead & (0x3FU >> more);
    for (int k = 0; k < more; ++k) {
      if (i >= text.size()) return false;
      const auto next = static_cast<uint8_t>(text[i++]);
      if ((next & 0xC0) != 0x80) return false;
      code = (code << 6) | (next & 0x3F);
    }
    const uint32_t smallest = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
    if (code < smallest || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
  }
  return true;
}

std::string utf8_to_latin1(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<uint8_t>(text[i]);
    if (lead < 0x80) {
      bytes += text[i];
    } else if ((lead == 0xC2 || lead == 0xC3) && i + 1 < text.size()) {
      const auto next = static_cast<uint8_t>(text[++i]);
      bytes += static_cast<char>(((lead & 3U) << 6) | (next & 0x3FU));
    } else {
      fail("bytes encoded as text hold a character outside of latin-1");
    }
  }
  return bytes;
}

std::string latin1_to_utf8(std::string_view bytes) {
  std::string text;
  for (const char raw : bytes) {
    const auto byte = static_cast<uint8_t>(raw);
    if (byte < 0x80) {
      text += raw;
    } else {
      text += static_cast<char>(0xC0 | (byte >> 6));
      text += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  return text;
}

}  // namespace yoloquant::checkpoint
