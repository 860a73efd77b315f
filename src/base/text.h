#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace yoloquant {

// Shell-style match of a whole name: '*' any run of characters, '?' one, '[abc]' one of a set.
bool glob_match(std::string_view pattern, std::string_view name);

// The candidate closest to `word` by edit distance, or "" when none is near enough to suggest.
std::string closest_match(std::string_view word, std::span<const std::string> candidates);

std::vector<std::string> split(std::string_view text, char separator);
std::string trim(std::string_view text);
std::string lower(std::string_view text);

// A field of a CSV table (RFC 4180): quoted when it has a comma, quote or line break.
std::string csv_field(const std::string& text);

// 1536 -> "1.5 KiB".
std::string human_bytes(double bytes);
// 74.2 -> "1 min 14 s".
std::string human_seconds(double seconds);
// "90", "90s", "10m", "1.5h" -> seconds. Error (usage) for anything else, and for nothing or less.
double parse_seconds(const std::string& text);

}  // namespace yoloquant
