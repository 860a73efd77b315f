#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "checkpoint/value.h"

// Values as text. Tensors are shown by type and shape ("float16 [16, 3, 3, 3]"), what is no plain
// value by its name. Shared values are written out each time, so the text is bounded: all functions
// throw Error when it would exceed kMaxTextBytes.
namespace yoloquant::checkpoint {

inline constexpr size_t kMaxTextBytes = size_t{64} << 20;

// One line of JSON (RFC 8259). Dict keys become strings, tuples and sets lists, NaN and the
// infinities null.
std::string to_json(const Value& value);

// Block YAML 1.2 with one line per list without dicts, as Ultralytics' model definitions look:
//   backbone:
//     - [-1, 1, Conv, [64, 3, 2]]
std::string to_yaml(const Value& value);

// Numbers without fraction or exponent become integers, objects dicts in the order of the text.
// Throws Error with the byte offset for malformed text.
Value parse_json(std::string_view text);

}  // namespace yoloquant::checkpoint
