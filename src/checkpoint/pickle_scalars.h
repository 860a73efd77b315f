#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "checkpoint/value.h"

namespace yoloquant::checkpoint {

// A little-endian two's complement integer of any length, as LONG1 and LONG4 hold it.
Value integer_from_bytes(std::span<const std::byte> bytes);

// The bytes of such an integer; of a BigInt too.
std::string integer_to_bytes(const Value& integer);

// Text in UTF-8; lone surrogates, which Python's pickle lets pass, count as errors.
bool is_utf8(std::string_view text);

// UTF-8 text with code points below 256 to one byte each, and back (Python's latin-1). The first
// throws Error for other code points.
std::string utf8_to_latin1(std::string_view text);
std::string latin1_to_utf8(std::string_view bytes);

}  // namespace yoloquant::checkpoint
