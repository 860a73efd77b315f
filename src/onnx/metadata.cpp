#include "onnx/metadata.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace yoloquant::onnx {

namespace {

// Python's repr of a str: single quotes unless that alone would need escaping.
std::string quoted(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string result(1, quote);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      result += {'\\', c};
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c == '\r') {
      result += "\\r";
    } else if (byte < 0x20 || byte == 0x7F) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result + quote;
}

// A reader of the Python literals above: ints, strings, lists and dicts of them.
class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}

  bool take(char wanted) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!take(wanted)) fail("expected '{}' at character {}", wanted, at_);
  }
  void expect_end() {
    skip_space();
    if (at_ != text_.size()) fail("unexpected text at character {}", at_);
  }
  int64_t integer() {
    skip_space();
    int64_t value = 0;
    const char* end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(text_.data() + at_, end, value);
    if (error != std::errc()) fail("expected a number at character {}", at_);
    at_ = static_cast<size_t>(stop - text_.data());
    return value;
  }
  std::string string() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) {
      fail("expected a string at character {}", at_);
    }
    const char quote = text_[at_++];
    std::string result;
    while (at_ < text_.size() && text_[at_] != quote) {
      const char c = text_[at_++];
      result += c == '\\' ? escaped() : c;
    }
    expect(quote);
    return result;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  char escaped() {
    if (at_ >= text_.size()) fail("text ends inside a string");
    const char c = text_[at_++];
    switch (c) {
      case 'n':
        return '\n';
      case 't':
        return '\t';
      case 'r':
        return '\r';
      case 'x': {
        unsigned value = 0;
        if (at_ + 2 > text_.size()) fail("text ends inside a string");
        const char* begin = text_.data() + at_;
        if (std::from_chars(begin, begin + 2, value, 16).ptr != begin + 2) {
          fail("bad escape at character {}", at_);
        }
        at_ += 2;
        return static_cast<char>(value);
      }
      default:
        return c;
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

std::vector<int64_t> parse_integers(std::string_view text) {
  Literal literal(text);
  std::vector<int64_t> values;
  literal.expect('[');
  while (!literal.take(']')) {
    if (!values.empty()) literal.expect(',');
    values.push_back(literal.integer());
  }
  literal.expect_end();
  return values;
}

}  // namespace

std::string names_literal(const std::map<int, std::string>& names) {
  std::vector<std::string> entries;
  for (const auto& [id, name] : names) entries.push_back(fmt::format("{}: {}", id, quoted(name)));
  return fmt::format("{{{}}}", fmt::join(entries, ", "));
}

std::map<int, std::string> parse_names(std::string_view text) {
  constexpr int64_t kMaxClasses = 1'000'000;
  Literal literal(text);
  std::map<int, std::string> names;
  literal.expect('{');
  for (bool first = true; !literal.take('}'); first = false) {
    if (!first) literal.expect(',');
    const int64_t id = literal.integer();
    if (id < 0 || id > kMaxClasses) fail("class id {}", id);
    literal.expect(':');
    names[static_cast<int>(id)] = literal.string();
  }
  literal.expect_end();
  return names;
}

MetadataProps metadata_props(const graph::Metadata& metadata, const Shape& input_shape) {
  MetadataProps props;
  props["description"] = metadata.description;
  props["task"] = metadata.task;
  props["names"] = names_literal(metadata.names);
  if (!metadata.head.empty()) props["yoloquant.head"] = metadata.head;
  if (!metadata.strides.empty()) {
    props["stride"] = std::to_string(std::ranges::max(metadata.strides));
    props["strides"] = shape_string(metadata.strides);
  }
  if (input_shape.size() == 4) {
    props["batch"] = std::to_string(input_shape[0]);
    props["imgsz"] = shape_string({input_shape[2], input_shape[3]});
  }
  return props;
}

namespace {

// Calls `apply` with the value of a key, if it is there.
template <typename Apply>
void use(const MetadataProps& props, const char* key, Apply apply) {
  const auto found = props.find(key);
  if (found == props.end()) return;
  with_context(fmt::format("metadata '{}'", key), [&] { apply(found->second); });
}

}  // namespace

graph::Metadata parse_metadata(const MetadataProps& props) {
  using Text = const std::string&;
  graph::Metadata metadata;
  use(props, "description", [&](Text text) { metadata.description = text; });
  use(props, "task", [&](Text text) { metadata.task = text; });
  use(props, "yoloquant.head", [&](Text text) { metadata.head = text; });
  use(props, "names", [&](Text text) { metadata.names = parse_names(text); });
  use(props, "stride", [&](Text text) { metadata.strides = {Literal(text).integer()}; });
  use(props, "strides", [&](Text text) { metadata.strides = parse_integers(text); });
  return metadata;
}

Shape exported_shape(const MetadataProps& props) {
  using Text = const std::string&;
  Shape shape{1, 3, 640, 640};
  use(props, "batch", [&](Text text) { shape[0] = Literal(text).integer(); });
  use(props, "imgsz", [&](Text text) {
    const std::vector<int64_t> size = parse_integers(text);
    if (size.size() != 2) fail("{} numbers", size.size());
    shape[2] = size[0];
    shape[3] = size[1];
  });
  return shape;
}

}  // namespace yoloquant::onnx
