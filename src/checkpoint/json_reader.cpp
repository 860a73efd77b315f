#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/value_text.h"

namespace yoloquant::checkpoint {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxDepth = 500;

// Builds a Value from the events of the parser.
class ValueBuilder : public nlohmann::json_sax<Json> {
 public:
  Value root;

  bool null() override { return add({}); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override {
    if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return add(static_cast<int64_t>(value));
    }
    return add(Value(BigInt{std::to_string(value)}));
  }
  bool number_float(double value, const std::string& /*text*/) override { return add(value); }
  bool string(std::string& text) override { return add(std::move(text)); }
  bool binary(Json::binary_t& /*bytes*/) override { return false; }
  bool start_object(size_t /*size*/) override { return open(Value::dict()); }
  bool key(std::string& text) override {
    keys_.back() = std::move(text);
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(size_t /*size*/) override { return open(Value::list()); }
  bool end_array() override { return close(); }
  bool parse_error(size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    fail("byte {}: malformed JSON", position);
  }

 private:
  bool add(Value value) {
    if (open_.empty()) {
      root = std::move(value);
    } else if (open_.back().is_dict()) {
      open_.back().mutable_entries().emplace_back(std::move(keys_.back()), std::move(value));
    } else {
      open_.back().mutable_items().push_back(std::move(value));
    }
    return true;
  }
  bool open(const Value& container) {
    if (open_.size() >= kMaxDepth) fail("JSON is nested more than {} deep", kMaxDepth);
    add(container);
    open_.push_back(container);
    keys_.emplace_back();
    return true;
  }
  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  std::vector<Value> open_;
  std::vector<std::string> keys_;  // of each open object: the key in hand
};

}  // namespace

Value parse_json(std::string_view text) {
  ValueBuilder builder;
  Json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder.root);
}

}  // namespace yoloquant::checkpoint
