#include "data/json_stream.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"

namespace yoloquant::data {
namespace {

constexpr size_t kMaxElementBytes = size_t{1} << 28;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

enum Kind : uint8_t { kOther, kQuote, kOpen, kClose, kSeparator };

constexpr std::array<Kind, 256> make_kinds() {
  std::array<Kind, 256> kinds{};
  kinds['"'] = kQuote;
  kinds['{'] = kinds['['] = kOpen;
  kinds['}'] = kinds[']'] = kClose;
  kinds[','] = kinds[' '] = kinds['\n'] = kinds['\r'] = kinds['\t'] = kSeparator;
  return kinds;
}
constexpr std::array<Kind, 256> kKinds = make_kinds();

// Finds the end of one value; fed with consecutive pieces of it.
class ValueScanner {
 public:
  // Returns the position behind the value when it ends in [text, end), else nullptr.
  const char* feed(const char* text, const char* end) {
    for (const char* p = text; p < end; ++p) {
      if (in_string_) {
        if (escaped_) {
          escaped_ = false;
        } else if (*p == '\\') {
          escaped_ = true;
        } else if (*p == '"') {
          in_string_ = false;
          if (depth_ == 0) return p + 1;
        }
        continue;
      }
      switch (kKinds[static_cast<unsigned char>(*p)]) {
        case kOther:
          break;
        case kQuote:
          in_string_ = true;
          break;
        case kOpen:
          ++depth_;
          break;
        case kClose:
          if (depth_ == 0) return p;  // a scalar before the end of its container
          if (--depth_ == 0) return p + 1;
          break;
        case kSeparator:
          if (depth_ == 0) return p;
          break;
      }
    }
    return nullptr;
  }

 private:
  uint64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace

JsonArrayStream::JsonArrayStream(const std::filesystem::path& path, size_t batch_bytes)
    : name_(path.string()), file_(path, std::ios::binary), batch_bytes_(batch_bytes) {
  std::error_code error;
  file_size_ = std::filesystem::file_size(path, error);
  if (error || !file_) fail("{}: cannot open the file", name_);
  window_.resize(1 + std::min<uint64_t>(batch_bytes_, file_size_) + kPadding);
}

bool JsonArrayStream::refill() {
  const size_t drop = (keeping_ ? keep_from_ : position_) - 1;
  std::memmove(window_.data(), window_.data() + drop, end_ - drop);
  base_ += drop;
  position_ -= drop;
  end_ -= drop;
  if (keeping_) keep_from_ -= drop;
  if (end_ > kMaxElementBytes) {
    fail("{}: byte {}: an element is longer than {} bytes", name_, base_, kMaxElementBytes);
  }
  const uint64_t left = file_size_ - std::min(file_size_, base_ + end_);
  const size_t wanted = std::min<uint64_t>(batch_bytes_ / 2 + 1, left);
  if (window_.size() < end_ + wanted + kPadding) window_.resize(window_.size() * 2);
  file_.read(window_.data() + end_, static_cast<std::streamsize>(window_.size() - kPadding - end_));
  const auto count = static_cast<size_t>(file_.gcount());
  end_ += count;
  return count > 0;
}

int JsonArrayStream::peek() {
  while (true) {
    while (position_ < end_ && is_space(window_[position_])) ++position_;
    if (position_ < end_) return static_cast<unsigned char>(window_[position_]);
    if (!refill()) return -1;
  }
}

void JsonArrayStream::expect(char wanted, const char* where) {
  const int found = peek();
  if (found < 0)
    fail("{}: the file ends at byte {}, before '{}' {}", name_, offset(), wanted, where);
  if (found != wanted) fail("{}: byte {}: expected '{}' {}", name_, offset(), wanted, where);
  ++position_;
}

// Moves position_ behind the next value.
void JsonArrayStream::scan_value() {
  const int first = peek();
  if (first < 0) fail("{}: the file ends at byte {}, before a value", name_, offset());
  if (first == ',' || first == ']' || first == '}' || first == ':') {
    fail("{}: byte {}: expected a value", name_, offset());
  }
  ValueScanner scanner;
  while (true) {
    const char* const stop = scanner.feed(window_.data() + position_, window_.data() + end_);
    if (stop != nullptr) {
      position_ = static_cast<size_t>(stop - window_.data());
      return;
    }
    position_ = end_;
    if (!refill()) fail("{}: the file ends at byte {}, inside a value", name_, offset());
  }
}

std::string JsonArrayStream::read_key() {
  if (peek() != '"') fail("{}: byte {}: expected a key", name_, offset());
  keep_from_ = position_;
  keeping_ = true;
  scan_value();
  keeping_ = false;
  std::string key(window_.data() + keep_from_ + 1, position_ - keep_from_ - 2);
  expect(':', "after a key");
  return key;
}

void JsonArrayStream::start_document(std::string* key) {
  window_[0] = ' ';  // stands for the byte before the file
  base_ = static_cast<uint64_t>(-1);
  position_ = end_ = 1;
  if (peek() == '[') {
    root_is_array_ = true;
    key->clear();
    start_array();
    return;
  }
  expect('{', "or '[' at the start of the document");
  state_ = State::kInObject;
}

void JsonArrayStream::start_array() {
  ++position_;
  element_index_ = 0;
  state_ = State::kInArray;
}

void JsonArrayStream::finish_document() {
  ++position_;
  if (peek() >= 0) fail("{}: byte {}: text after the end of the document", name_, offset());
  state_ = State::kDone;
}

bool JsonArrayStream::next_array(std::string* key) {
  if (state_ == State::kStart) {
    start_document(key);
    if (state_ == State::kInArray) return true;
  }
  for (Batch rest; state_ == State::kInArray;) next_batch(&rest);
  while (state_ == State::kInObject) {
    if (peek() == '}') {
      finish_document();
      break;
    }
    if (!first_member_) expect(',', "between members");
    first_member_ = false;
    *key = read_key();
    if (peek() == '[') {
      start_array();
      return true;
    }
    scan_value();
  }
  return false;
}

// Behind '[' or an element: moves to the next element, or out of the array.
bool JsonArrayStream::at_array_end() {
  if (peek() == ']') {
    if (root_is_array_) {
      finish_document();
    } else {
      ++position_;
      state_ = State::kInObject;
    }
    return true;
  }
  if (element_index_ > 0) expect(',', "or ']' between elements");
  peek();
  return false;
}

bool JsonArrayStream::next_batch(Batch* batch) {
  if (state_ != State::kInArray) return false;
  if (replaced_ != 0) window_[position_] = replaced_;
  replaced_ = 0;
  if (at_array_end()) return false;

  batch->offset = offset();
  batch->first_index = element_index_;
  keep_from_ = position_;
  keeping_ = true;
  size_t length = 0;
  while (true) {
    scan_value();
    ++element_index_;
    length = position_ - keep_from_;
    if (length >= batch_bytes_ / 2 || peek() != ',') break;
    ++position_;
  }
  position_ = keep_from_ + length;
  if (position_ == end_ && !refill()) {
    fail("{}: the file ends at byte {}, inside an array", name_, offset());
  }
  keeping_ = false;
  char* const start = window_.data() + keep_from_ - 1;
  *start = '[';
  replaced_ = window_[position_];
  window_[position_] = ']';
  batch->json = {start, length + 2};
  return true;
}

}  // namespace yoloquant::data
