#pragma once

// Helpers for sources that read JSON with simdjson; never included from a public header.
#include <simdjson.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/json_stream.h"

namespace yoloquant::data {

namespace json = simdjson::ondemand;

// Throws Error "KEY: what is wrong" unless `code` is success.
inline void check_json(simdjson::error_code code, std::string_view key) {
  if (code != simdjson::SUCCESS) [[unlikely]] {
    fail("'{}': {}", key, simdjson::error_message(code));
  }
}

template <typename T>
T get_json(simdjson::simdjson_result<json::value> value, std::string_view key) {
  T result{};
  check_json(value.get(result), key);
  return result;
}

// 0, 1, false or true.
inline bool get_json_flag(simdjson::simdjson_result<json::value> value, std::string_view key) {
  json::json_type type{};
  check_json(value.type().get(type), key);
  if (type == json::json_type::boolean) return get_json<bool>(value, key);
  return get_json<double>(value, key) != 0;
}

// Exactly `count` numbers into `target`.
inline void get_json_numbers(simdjson::simdjson_result<json::value> value, std::string_view key,
                             double* target, size_t count) {
  json::array numbers;
  check_json(value.get_array().get(numbers), key);
  size_t found = 0;
  for (auto number : numbers) {
    if (found == count) fail("'{}': more than {} numbers", key, count);
    check_json(number.get_double().get(target[found++]), key);
  }
  if (found != count) fail("'{}': {} numbers instead of {}", key, found, count);
}

// Calls on_object(object, index in the array) for each element of the stream's current array. An
// Error gets "FILE: ARRAY[index], byte N" in front, where N is the start of the batch or, inside
// it, of what simdjson last looked at.
template <typename OnObject>
void for_each_object(JsonArrayStream& stream, json::parser& parser, const std::string& array_name,
                     OnObject&& on_object) {
  JsonArrayStream::Batch batch;
  while (stream.next_batch(&batch)) {
    uint64_t index = batch.first_index;
    json::document document;
    bool parsing = false;
    const auto where = [&] {
      const char* at = nullptr;
      uint64_t offset = batch.offset;
      if (parsing && document.current_location().get(at) == simdjson::SUCCESS &&
          at > batch.json.data()) {
        offset += static_cast<uint64_t>(at - batch.json.data()) - 1;
      }
      return fmt::format("{}[{}], near byte {}", array_name, index, offset);
    };
    try {
      const simdjson::padded_string_view text(batch.json.data(), batch.json.size(),
                                              batch.json.size() + JsonArrayStream::kPadding);
      const auto check = [](simdjson::error_code code) {
        if (code != simdjson::SUCCESS) fail("{}", simdjson::error_message(code));
      };
      check(parser.iterate(text).get(document));
      parsing = true;
      json::array elements;
      check(document.get_array().get(elements));
      for (auto element : elements) {
        json::object object;
        check(element.get_object().get(object));
        on_object(object, index);
        ++index;
      }
    } catch (Error& error) {
      error.add_context(where());
      throw;
    } catch (const simdjson::simdjson_error& error) {  // from the iterators
      fail("{}: {}", where(), error.what());
    }
  }
}

}  // namespace yoloquant::data
