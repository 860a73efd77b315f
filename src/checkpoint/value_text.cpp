#include "checkpoint/value_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"

namespace yoloquant::checkpoint {

namespace {

constexpr size_t kMaxDepth = 1000;

std::string float_text(double value) {
  std::string text = fmt::format("{}", value);
  const bool looks_integral = text.find_first_not_of("-0123456789") == std::string::npos;
  return looks_integral ? text + ".0" : text;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

// Text of what is neither container nor number.
std::string leaf_text(const Value& value) {
  switch (value.kind()) {
    case Kind::kBytes:
      return fmt::format("<{} bytes>", value.as_bytes().size());
    case Kind::kTensor: {
      const TensorView& view = value.tensor_view();
      return fmt::format("{} {}", dtype_name(view.dtype()), shape_string(view.shape()));
    }
    case Kind::kStorage:
      return "storage " + value.storage()->key;
    case Kind::kGlobal:
      return value.as_global().full_name();
    case Kind::kBackReference:
      return "<back reference>";
    default:
      return value.as_string();
  }
}

// An object as the plain value that stands for it.
Value object_contents(const Object& object) {
  if (!object.dict_items.empty()) return Value::dict(object.dict_items);
  if (object.state.is_dict()) return object.state;
  if (!object.list_items.empty()) return Value::list(object.list_items);
  return object.type_name();
}

// Text of a scalar common to JSON and YAML; "" for other kinds.
std::string scalar_text(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
      return "null";
    case Kind::kBool:
      return value.as_bool() ? "true" : "false";
    case Kind::kInt:
      return std::to_string(value.as_int());
    case Kind::kBigInt:
      return value.as_big_int();
    default:
      return "";
  }
}

class Writer {
 public:
  std::string out;

 protected:
  // Checks the bounds; call it once per value.
  void guard(size_t depth) const {
    if (depth > kMaxDepth) fail("values are nested more than {} deep", kMaxDepth);
    if (out.size() > kMaxTextBytes) fail("the text would exceed {} bytes", kMaxTextBytes);
  }
};

class JsonWriter : public Writer {
 public:
  void write(const Value& value, size_t depth) {
    guard(depth);
    if (const std::string scalar = scalar_text(value); !scalar.empty()) {
      out += scalar;
    } else if (value.kind() == Kind::kFloat) {
      out += std::isfinite(value.as_float()) ? float_text(value.as_float()) : "null";
    } else if (value.is_sequence()) {
      out += '[';
      for (size_t i = 0; i < value.items().size(); ++i) {
        if (i > 0) out += ", ";
        write(value.items()[i], depth + 1);
      }
      out += ']';
    } else if (value.is_dict()) {
      write_dict(value, depth);
    } else if (value.is_object()) {
      write(object_contents(value.as_object()), depth + 1);
    } else {
      out += quoted(leaf_text(value));
    }
  }

 private:
  void write_dict(const Value& value, size_t depth) {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : value.entries()) {
      if (!first) out += ", ";
      first = false;
      if (key.is_string()) {
        out += quoted(key.as_string());
      } else if (child_count(key) > 0) {
        out += quoted(fmt::format("<{}>", kind_name(key.kind())));
      } else {
        JsonWriter key_text;
        key_text.write(key, depth + 1);
        out += quoted(key_text.out);
      }
      out += ": ";
      write(item, depth + 1);
    }
    out += '}';
  }
};

// Whether a YAML reader takes the text as it stands for a string.
bool is_plain_yaml(std::string_view text) {
  static constexpr std::array<std::string_view, 7> kReserved = {"null", "true", "false", "yes",
                                                                "no",   "on",   "off"};
  if (text.empty() || text.size() > 200) return false;
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  if (std::isalpha(static_cast<unsigned char>(text[0])) == 0 && text[0] != '_') return false;
  if (!std::ranges::all_of(
          text, [&](char c) { return is_word(c) || c == '.' || c == '/' || c == '-'; })) {
    return false;
  }
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::ranges::find(kReserved, lower) == kReserved.end();
}

// Whether a value fits on one line: no dict anywhere in it, and at most `budget` values, which is
// counted down.
bool is_flow(const Value& value, int& budget) {
  if (--budget < 0) return false;
  if (value.is_dict()) return value.entries().empty();
  if (value.is_object()) return false;
  if (!value.is_sequence()) return true;
  return std::ranges::all_of(value.items(),
                             [&](const Value& item) { return is_flow(item, budget); });
}

bool is_flow(const Value& value) {
  int budget = 500;
  return is_flow(value, budget);
}

class YamlWriter : public Writer {
 public:
  // REQUIRES: the writer is at the start of a line.
  void write_block(const Value& value, size_t indent, size_t depth) {
    guard(depth);
    if (value.is_object()) {
      write_block(object_contents(value.as_object()), indent, depth + 1);
    } else if (value.is_dict() && !value.entries().empty()) {
      for (const auto& [key, item] : value.entries()) {
        out.append(indent, ' ');
        write_flow(key, depth + 1);
        out += ':';
        write_after(item, indent, depth);
      }
    } else if (value.is_sequence() && !value.items().empty()) {
      for (const Value& item : value.items()) {
        out.append(indent, ' ');
        out += '-';
        write_after(item, indent, depth);
      }
    } else {
      out.append(indent, ' ');
      write_flow(value, depth);
      out += '\n';
    }
  }

 private:
  // The value of a key or dash: on the same line if it fits there.
  void write_after(const Value& value, size_t indent, size_t depth) {
    const bool is_rows = value.is_sequence() && !value.items().empty() &&
                         std::ranges::all_of(value.items(), [](const Value& item) {
                           return item.is_sequence() && !item.items().empty();
                         });
    if (!is_rows && is_flow(value)) {
      out += ' ';
      write_flow(value, depth + 1);
      out += '\n';
    } else {
      out += '\n';
      write_block(value, indent + 2, depth + 1);
    }
  }

  void write_flow(const Value& value, size_t depth) {
    guard(depth);
    if (const std::string scalar = scalar_text(value); !scalar.empty()) {
      out += scalar;
    } else if (value.kind() == Kind::kFloat) {
      const double number = value.as_float();
      out += std::isnan(number)   ? ".nan"
             : std::isinf(number) ? (number > 0 ? ".inf" : "-.inf")
                                  : float_text(number);
    } else if (value.is_sequence()) {
      out += '[';
      for (size_t i = 0; i < value.items().size(); ++i) {
        if (i > 0) out += ", ";
        write_flow(value.items()[i], depth + 1);
      }
      out += ']';
    } else if (value.is_dict()) {
      out += "{}";
      if (!value.entries().empty()) fail("a dict within a key cannot be written as YAML");
    } else if (value.is_object()) {
      write_flow(object_contents(value.as_object()), depth + 1);
    } else {
      const std::string text = leaf_text(value);
      out += is_plain_yaml(text) ? text : quoted(text);
    }
  }
};

}  // namespace

std::string to_json(const Value& value) {
  JsonWriter writer;
  writer.write(value, 0);
  return std::move(writer.out);
}

std::string to_yaml(const Value& value) {
  YamlWriter writer;
  writer.write_block(value, 0, 0);
  return std::move(writer.out);
}

}  // namespace yoloquant::checkpoint
