#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

// The plain fields of a checkpoint to and from Values, for all file formats.
namespace yoloquant::checkpoint {

// {0: "person", ...}, {"0": "person", ...} or ["person", ...]. Throws Error for anything else.
std::map<int64_t, std::string> names_from_value(const Value& value);
Value names_to_value(const std::map<int64_t, std::string>& names);

// A tensor, a list of numbers or one number.
std::vector<double> stride_from_value(const Value& value);
Value stride_to_value(const std::vector<double>& stride);

// Takes `value` for the field called `key` ("names", "yaml", "epoch", ...). False when no field is
// called so, or when the value is None.
bool set_field(Checkpoint& checkpoint, std::string_view key, const Value& value);

}  // namespace yoloquant::checkpoint
