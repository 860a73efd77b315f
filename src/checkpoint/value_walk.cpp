// Walks over whole values. Containers may be shared, so each is visited once.
#include <unordered_map>
#include <unordered_set>

#include "checkpoint/value.h"

namespace yoloquant::checkpoint {

void load_tensors(Value& value) {
  std::unordered_set<const void*> seen;
  std::unordered_map<const void*, Value> loaded;
  std::vector<Value> pending;
  const auto visit = [&](Value& slot) {
    if (slot.is_tensor()) {
      if (slot.tensor_view().is_loaded()) return;
      const auto [found, is_new] = loaded.try_emplace(slot.identity());
      // Keep the view itself alive too: its address is the key.
      if (is_new) found->second = Value::tuple({slot, Value(slot.tensor())});
      slot = found->second.items()[1];
    } else if (child_count(slot) > 0 && seen.insert(slot.identity()).second) {
      pending.push_back(slot);
    }
  };
  visit(value);
  while (!pending.empty()) {
    Value container = std::move(pending.back());
    pending.pop_back();
    for (size_t i = 0; i < child_count(container); ++i) visit(child(container, i));
  }
}

namespace {

class PlainCopier {
 public:
  Value copy(const Value& value) {
    switch (value.kind()) {
      case Kind::kList:
      case Kind::kTuple:
      case Kind::kSet:
      case Kind::kDict:
      case Kind::kObject:
        return copy_once(value);
      case Kind::kGlobal:
        return value.as_global().full_name();
      case Kind::kStorage:
        return "storage " + value.storage()->key;
      case Kind::kBackReference:
        return {};
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kFloat:
      case Kind::kBigInt:
      case Kind::kString:
      case Kind::kBytes:
      case Kind::kTensor:
        return value;
    }
    return {};
  }

 private:
  Value copy_once(const Value& value) {
    const auto known = copies_.find(value.identity());
    if (known != copies_.end()) return known->second;
    Value result = copy_container(value);
    copies_.emplace(value.identity(), result);
    return result;
  }

  Value copy_container(const Value& value) {
    if (value.is_dict()) {
      Entries entries = copy(value.entries());
      return value.is_ordered_dict() ? Value::ordered_dict(std::move(entries))
                                     : Value::dict(std::move(entries));
    }
    if (value.is_object()) return copy_object(value.as_object());
    Items items;
    items.reserve(value.items().size());
    for (const Value& item : value.items()) items.push_back(copy(item));
    if (value.kind() == Kind::kTuple) return Value::tuple(std::move(items));
    if (value.kind() == Kind::kSet) return Value::set(std::move(items));
    return Value::list(std::move(items));
  }

  Value copy_object(const Object& object) {
    if (!object.dict_items.empty()) return Value::dict(copy(object.dict_items));
    if (object.state.is_dict()) return copy(object.state);
    if (!object.list_items.empty()) return copy(Value::list(object.list_items));
    return object.type_name();
  }

  Entries copy(const Entries& entries) {
    Entries result;
    result.reserve(entries.size());
    for (const auto& [key, item] : entries) result.emplace_back(copy(key), copy(item));
    return result;
  }

  std::unordered_map<const void*, Value> copies_;
};

}  // namespace

Value to_plain(const Value& value) { return PlainCopier().copy(value); }

}  // namespace yoloquant::checkpoint
