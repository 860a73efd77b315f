#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace yoloquant::data {

// Walks a JSON file whose bulk lies in long arrays, in memory that does not grow with the file: the
// document is either such an array or an object with such arrays as members.
//
//   JsonArrayStream stream(path);
//   std::string key;
//   JsonArrayStream::Batch batch;
//   while (stream.next_array(&key)) {          // key is "" when the document is an array
//     while (stream.next_batch(&batch)) ...    // batch.json is "[element, ...]"
//   }
//
// It cuts at element boundaries by counting brackets outside strings; what is inside an element is
// left to the JSON parser that gets the batch. Throws Error with the byte offset.
class JsonArrayStream {
 public:
  // Bytes behind batch.json that may be read (simdjson's padding).
  static constexpr size_t kPadding = 64;

  struct Batch {
    std::string_view json;     // a whole JSON array; valid until the next call
    uint64_t offset = 0;       // of its first element in the file
    uint64_t first_index = 0;  // of its first element in the array
  };

  explicit JsonArrayStream(const std::filesystem::path& path, size_t batch_bytes = 1 << 20);

  uint64_t file_size() const { return file_size_; }
  // Up to the end of the current batch.
  uint64_t bytes_read() const { return base_ + position_; }

  // Moves on to the next array; skips the rest of the current one and members that are not arrays.
  // False at the end of the document.
  bool next_array(std::string* key);
  // False at the end of the array.
  bool next_batch(Batch* batch);

 private:
  enum class State { kStart, kInObject, kInArray, kDone };

  uint64_t offset() const { return base_ + position_; }
  bool refill();  // more bytes behind the window; false at the end of the file
  int peek();     // next byte that is not white space, -1 at the end of the file
  void expect(char wanted, const char* where);
  std::string read_key();
  void scan_value();
  void start_document(std::string* key);
  void start_array();
  bool at_array_end();
  void finish_document();

  std::string name_;
  std::ifstream file_;
  uint64_t file_size_ = 0;
  size_t batch_bytes_;
  State state_ = State::kStart;
  bool root_is_array_ = false;
  bool first_member_ = true;
  uint64_t element_index_ = 0;

  // Bytes [base_, base_ + end_) of the file, then padding. Position 0 is never the next byte: a
  // batch's opening bracket can be written in front of its first element.
  std::vector<char> window_;
  uint64_t base_ = 0;
  size_t position_ = 0;
  size_t end_ = 0;
  bool keeping_ = false;  // refill keeps what lies behind keep_from_, else behind position_
  size_t keep_from_ = 0;
  char replaced_ = 0;  // what stood at position_ before a batch's closing bracket; 0: no bracket
};

}  // namespace yoloquant::data
