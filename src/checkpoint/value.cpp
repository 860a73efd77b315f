#include "checkpoint/value.h"

#include <array>

#include "base/error.h"

namespace yoloquant::checkpoint {

namespace {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

[[noreturn]] void fail_kind(std::string_view wanted, Kind found) {
  fail("expected {}, found {}", wanted, kind_name(found));
}

std::shared_ptr<Sequence> make_sequence(Kind kind, Items items) {
  return std::make_shared<Sequence>(Sequence{kind, std::move(items)});
}

}  // namespace

std::string_view kind_name(Kind kind) {
  static constexpr std::array<std::string_view, 16> kNames = {
      "None",     "a bool",    "an integer", "a float",         "a big integer", "a string",
      "bytes",    "a list",    "a tuple",    "a set",           "a dict",        "an object",
      "a tensor", "a storage", "a class",    "a back reference"};
  return kNames[static_cast<size_t>(kind)];
}

Value::Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
Value::Value(Tensor tensor) : Value(TensorView(std::move(tensor))) {}
Value::Value(TensorView view) : data_(std::make_shared<const TensorView>(std::move(view))) {}
Value::Value(BigInt value) : data_(std::make_shared<const BigInt>(std::move(value))) {}
Value::Value(Bytes bytes) : data_(std::make_shared<const Bytes>(std::move(bytes))) {}
Value::Value(Global global) : data_(std::make_shared<const Global>(std::move(global))) {}
Value::Value(Object object) : data_(std::make_shared<Object>(std::move(object))) {}
Value::Value(std::shared_ptr<const Storage> storage) : data_(std::move(storage)) {}
Value::Value(BackReference reference)
    : data_(std::make_shared<const BackReference>(std::move(reference))) {}

Value Value::list(Items items) {
  Value value;
  value.data_ = make_sequence(Kind::kList, std::move(items));
  return value;
}

Value Value::tuple(Items items) {
  Value value;
  value.data_ = make_sequence(Kind::kTuple, std::move(items));
  return value;
}

Value Value::set(Items items) {
  Value value;
  value.data_ = make_sequence(Kind::kSet, std::move(items));
  return value;
}

Value Value::dict(Entries entries) {
  Value value;
  value.data_ = std::make_shared<Dict>(Dict{std::move(entries), false});
  return value;
}

Value Value::ordered_dict(Entries entries) {
  Value value;
  value.data_ = std::make_shared<Dict>(Dict{std::move(entries), true});
  return value;
}

Kind Value::kind() const {
  return std::visit(
      Overloaded{
          [](std::monostate) { return Kind::kNone; },
          [](bool) { return Kind::kBool; },
          [](int64_t) { return Kind::kInt; },
          [](double) { return Kind::kFloat; },
          [](const std::shared_ptr<const BigInt>&) { return Kind::kBigInt; },
          [](const std::shared_ptr<const std::string>&) { return Kind::kString; },
          [](const std::shared_ptr<const Bytes>&) { return Kind::kBytes; },
          [](const std::shared_ptr<Sequence>& sequence) { return sequence->kind; },
          [](const std::shared_ptr<Dict>&) { return Kind::kDict; },
          [](const std::shared_ptr<Object>&) { return Kind::kObject; },
          [](const std::shared_ptr<const TensorView>&) { return Kind::kTensor; },
          [](const std::shared_ptr<const Storage>&) { return Kind::kStorage; },
          [](const std::shared_ptr<const Global>&) { return Kind::kGlobal; },
          [](const std::shared_ptr<const BackReference>&) { return Kind::kBackReference; },
      },
      data_);
}

template <typename T>
const T& Value::get(Kind wanted) const {
  const T* held = std::get_if<T>(&data_);
  if (held == nullptr) fail_kind(kind_name(wanted), kind());
  return *held;
}

bool Value::is_sequence() const { return std::holds_alternative<std::shared_ptr<Sequence>>(data_); }

bool Value::as_bool() const { return get<bool>(Kind::kBool); }
int64_t Value::as_int() const { return get<int64_t>(Kind::kInt); }

double Value::as_float() const {
  if (const auto* integer = std::get_if<int64_t>(&data_)) return static_cast<double>(*integer);
  return get<double>(Kind::kFloat);
}

const std::string& Value::as_string() const {
  return *get<std::shared_ptr<const std::string>>(Kind::kString);
}

const std::string& Value::as_bytes() const {
  return get<std::shared_ptr<const Bytes>>(Kind::kBytes)->data;
}

const std::string& Value::as_big_int() const {
  return get<std::shared_ptr<const BigInt>>(Kind::kBigInt)->decimal;
}

const Global& Value::as_global() const {
  return *get<std::shared_ptr<const Global>>(Kind::kGlobal);
}

const Object& Value::as_object() const { return *get<std::shared_ptr<Object>>(Kind::kObject); }
Object& Value::mutable_object() { return *get<std::shared_ptr<Object>>(Kind::kObject); }

const Items& Value::items() const { return get<std::shared_ptr<Sequence>>(Kind::kList)->items; }
Items& Value::mutable_items() { return get<std::shared_ptr<Sequence>>(Kind::kList)->items; }

const Entries& Value::entries() const { return get<std::shared_ptr<Dict>>(Kind::kDict)->entries; }
Entries& Value::mutable_entries() { return get<std::shared_ptr<Dict>>(Kind::kDict)->entries; }

bool Value::is_ordered_dict() const {
  const auto* dict = std::get_if<std::shared_ptr<Dict>>(&data_);
  return dict != nullptr && (*dict)->ordered;
}

const Value* Value::find(std::string_view key) const {
  const Entries& all = entries();
  for (auto entry = all.rbegin(); entry != all.rend(); ++entry) {
    if (entry->first.is_string() && entry->first.as_string() == key) return &entry->second;
  }
  return nullptr;
}

void Value::set_item(std::string_view key, Value value) {
  Entries& entries = mutable_entries();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (entry->first.is_string() && entry->first.as_string() == key) {
      entry->second = std::move(value);
      return;
    }
  }
  entries.emplace_back(key, std::move(value));
}

const TensorView& Value::tensor_view() const {
  return *get<std::shared_ptr<const TensorView>>(Kind::kTensor);
}

const std::shared_ptr<const Storage>& Value::storage() const {
  return get<std::shared_ptr<const Storage>>(Kind::kStorage);
}

Value Value::resolve() const {
  const auto* reference = std::get_if<std::shared_ptr<const BackReference>>(&data_);
  if (reference == nullptr) return *this;
  Value value;
  std::visit(
      [&](const auto& weak) {
        if (auto target = weak.lock()) value.data_ = std::move(target);
      },
      (*reference)->target);
  return value;
}

const void* Value::identity() const {
  return std::visit(
      []<typename T>(const T& held) -> const void* {
        if constexpr (requires { held.get(); }) {
          return held.get();
        } else {
          return nullptr;
        }
      },
      data_);
}

std::string Object::type_name() const {
  return type.kind() == Kind::kGlobal ? type.as_global().full_name() : "<call>";
}

const Value* Object::attribute(std::string_view name) const {
  if (state.is_dict()) return state.find(name);
  // Classes with slots: (dict or None, dict of slots).
  if (state.kind() == Kind::kTuple) {
    for (const Value& part : state.items()) {
      if (!part.is_dict()) continue;
      if (const Value* found = part.find(name)) return found;
    }
  }
  return nullptr;
}

BackReference::BackReference(const Value& value) {
  if (const auto* sequence = std::get_if<std::shared_ptr<Sequence>>(&value.data_)) {
    target = *sequence;
  } else if (const auto* dict = std::get_if<std::shared_ptr<Dict>>(&value.data_)) {
    target = *dict;
  } else {
    target = value.get<std::shared_ptr<Object>>(Kind::kObject);
  }
}

size_t child_count(const Value& value) {
  if (value.is_sequence()) return value.items().size();
  if (value.is_dict()) return 2 * value.entries().size();
  if (!value.is_object()) return 0;
  const Object& object = value.as_object();
  return 4 + object.list_items.size() + 2 * object.dict_items.size();
}

namespace {

Value& entry_child(Entries& entries, size_t index) {
  auto& entry = entries[index / 2];
  return index % 2 == 0 ? entry.first : entry.second;
}

}  // namespace

Value& child(Value& value, size_t index) {
  if (value.is_sequence()) return value.mutable_items()[index];
  if (value.is_dict()) return entry_child(value.mutable_entries(), index);
  Object& object = value.mutable_object();
  if (index == 0) return object.args;
  if (index == 1) return object.kwargs;
  if (index == 2) return object.state;
  if (index == 3) return object.type;
  index -= 4;
  if (index < object.list_items.size()) return object.list_items[index];
  return entry_child(object.dict_items, index - object.list_items.size());
}

}  // namespace yoloquant::checkpoint
