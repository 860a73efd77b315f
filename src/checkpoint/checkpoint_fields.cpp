#include "checkpoint/checkpoint_fields.h"

#include <charconv>

#include "base/error.h"

namespace yoloquant::checkpoint {

namespace {

int64_t class_id(const Value& key) {
  if (key.kind() == Kind::kInt) return key.as_int();
  const std::string& text = key.as_string();
  int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail("\"{}\" is no class number", text);
  }
  return id;
}

std::string text_or_empty(const Value& value) {
  return value.is_string() ? value.as_string() : std::string();
}

}  // namespace

std::map<int64_t, std::string> names_from_value(const Value& value) {
  std::map<int64_t, std::string> names;
  if (value.is_dict()) {
    for (const auto& [key, name] : value.entries()) names[class_id(key)] = name.as_string();
  } else {
    for (const Value& name : value.items()) {
      names.emplace(static_cast<int64_t>(names.size()), name.as_string());
    }
  }
  return names;
}

Value names_to_value(const std::map<int64_t, std::string>& names) {
  Value value = Value::dict();
  for (const auto& [id, name] : names) value.mutable_entries().emplace_back(id, name);
  return value;
}

std::vector<double> stride_from_value(const Value& value) {
  if (value.is_sequence()) {
    std::vector<double> stride;
    for (const Value& item : value.items()) stride.push_back(item.as_float());
    return stride;
  }
  if (value.is_tensor()) {
    const Tensor tensor = value.tensor().to_float32();
    const auto numbers = tensor.data<float>();
    return {numbers.begin(), numbers.end()};
  }
  return {value.as_float()};
}

Value stride_to_value(const std::vector<double>& stride) {
  return Value::list(Items(stride.begin(), stride.end()));
}

bool set_field(Checkpoint& checkpoint, std::string_view key, const Value& value) {
  if (value.is_none()) return false;
  return with_context(std::string(key), [&] {
    if (key == "names") {
      checkpoint.names = names_from_value(value);
    } else if (key == "stride") {
      checkpoint.stride = stride_from_value(value);
    } else if (key == "yaml") {
      checkpoint.yaml = to_plain(value);
    } else if (key == "args") {
      checkpoint.args = to_plain(value);
    } else if (key == "train_args") {
      checkpoint.train_args = to_plain(value);
    } else if (key == "epoch") {
      checkpoint.epoch = value.as_int();
    } else if (key == "date") {
      checkpoint.date = text_or_empty(value);
    } else if (key == "version") {
      checkpoint.version = text_or_empty(value);
    } else if (key == "task") {
      checkpoint.task = text_or_empty(value);
    } else {
      return false;
    }
    return true;
  });
}

std::optional<int64_t> Checkpoint::class_count() const {
  if (!names.empty()) return static_cast<int64_t>(names.size());
  for (const Value* fields : {&yaml, &extras}) {
    if (!fields->is_dict()) continue;
    const Value* count = fields->find("nc");
    if (count != nullptr && count->kind() == Kind::kInt) return count->as_int();
  }
  return std::nullopt;
}

}  // namespace yoloquant::checkpoint
