#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "checkpoint/tensor_view.h"
#include "tensor/tensor.h"

// The data that a pickle holds: plain values as in Python, tensors, and inert records of everything
// else. Nothing here can run.
namespace yoloquant::checkpoint {

class Value;
struct Sequence;
struct Dict;
struct Object;
struct BackReference;

using Items = std::vector<Value>;
using Entries = std::vector<std::pair<Value, Value>>;

// An integer outside int64, in decimal.
struct BigInt {
  std::string decimal;
};

struct Bytes {
  std::string data;
};

// The name of a class or function; only ever a name.
struct Global {
  std::string module;
  std::string name;
  std::string full_name() const { return module + "." + name; }
};

enum class Kind : uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kBigInt,
  kString,
  kBytes,
  kList,
  kTuple,
  kSet,
  kDict,
  kObject,
  kTensor,
  kStorage,
  kGlobal,
  kBackReference,
};

std::string_view kind_name(Kind kind);

// As in Python, copies of a list, tuple, set, dict or object share its contents. The typed
// accessors throw Error ("expected a string, found a dict") when the value is of another kind.
class Value {
 public:
  Value() = default;                                          // None
  Value(bool value) : data_(value) {}                         // NOLINT(google-explicit-constructor)
  Value(int value) : data_(static_cast<int64_t>(value)) {}    // NOLINT(google-explicit-constructor)
  Value(int64_t value) : data_(value) {}                      // NOLINT(google-explicit-constructor)
  Value(double value) : data_(value) {}                       // NOLINT(google-explicit-constructor)
  Value(std::string text);                                    // NOLINT(google-explicit-constructor)
  Value(std::string_view text) : Value(std::string(text)) {}  // NOLINT(google-explicit-constructor)
  Value(const char* text) : Value(std::string(text)) {}       // NOLINT(google-explicit-constructor)
  Value(Tensor tensor);                                       // NOLINT(google-explicit-constructor)
  explicit Value(TensorView view);
  explicit Value(BigInt value);
  explicit Value(Bytes bytes);
  explicit Value(Global global);
  explicit Value(Object object);
  explicit Value(std::shared_ptr<const Storage> storage);
  explicit Value(BackReference reference);

  static Value list(Items items = {});
  static Value tuple(Items items = {});
  static Value set(Items items = {});
  static Value dict(Entries entries = {});
  // A collections.OrderedDict.
  static Value ordered_dict(Entries entries = {});

  Kind kind() const;
  bool is_none() const { return kind() == Kind::kNone; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_dict() const { return kind() == Kind::kDict; }
  bool is_object() const { return kind() == Kind::kObject; }
  bool is_tensor() const { return kind() == Kind::kTensor; }
  bool is_sequence() const;  // list, tuple or set

  bool as_bool() const;
  int64_t as_int() const;
  double as_float() const;  // also of an integer
  const std::string& as_string() const;
  const std::string& as_bytes() const;
  const std::string& as_big_int() const;
  const Global& as_global() const;
  const Object& as_object() const;
  Object& mutable_object();

  // Contents of a list, tuple or set.
  const Items& items() const;
  Items& mutable_items();

  // Contents of a dict in the order of the file. A key that was stored twice is there twice, and
  // the last one counts.
  const Entries& entries() const;
  Entries& mutable_entries();
  bool is_ordered_dict() const;
  // The value under a string key, or nullptr. REQUIRES: a dict.
  const Value* find(std::string_view key) const;
  // Replaces or adds. REQUIRES: a dict.
  void set_item(std::string_view key, Value value);

  const TensorView& tensor_view() const;
  // The elements; a copy out of the file when they are still there.
  Tensor tensor() const { return tensor_view().load(); }
  const std::shared_ptr<const Storage>& storage() const;

  // What a back reference stands for, None when that is gone; otherwise the value itself.
  Value resolve() const;

  // Address of shared contents, nullptr for values without: tells shared containers apart.
  const void* identity() const;

 private:
  friend struct BackReference;
  template <typename T>
  const T& get(Kind wanted) const;

  std::variant<std::monostate, bool, int64_t, double, std::shared_ptr<const BigInt>,
               std::shared_ptr<const std::string>, std::shared_ptr<const Bytes>,
               std::shared_ptr<Sequence>, std::shared_ptr<Dict>, std::shared_ptr<Object>,
               std::shared_ptr<const TensorView>, std::shared_ptr<const Storage>,
               std::shared_ptr<const Global>, std::shared_ptr<const BackReference>>
      data_;
};

struct Sequence {
  Kind kind = Kind::kList;
  Items items;
};

struct Dict {
  Entries entries;
  bool ordered = false;
};

// An instance of a class that is not interpreted, or the result of a call that was not made.
struct Object {
  Value type;    // the class or function: a Global, or whatever else was to be called
  Value args;    // tuple
  Value kwargs;  // dict or None
  Value state;   // what __setstate__ or __dict__ would get; None without
  Items list_items;
  Entries dict_items;

  // "module.Class", or "<call>" when the type is no Global.
  std::string type_name() const;
  // Attribute of the instance, or nullptr.
  const Value* attribute(std::string_view name) const;
};

// Stands where an object refers to one that contains it, so that nothing owns itself.
struct BackReference {
  explicit BackReference(const Value& target);
  std::variant<std::weak_ptr<Sequence>, std::weak_ptr<Dict>, std::weak_ptr<Object>> target;
};

// Reads every tensor under `value` into memory, so that the file is no longer needed.
void load_tensors(Value& value);

// A copy with plain values only: objects with attributes become dicts of them, other objects,
// globals and storages their name, back references None. Tensors stay.
Value to_plain(const Value& value);

// The values directly inside a container; addresses hold until the container is changed.
size_t child_count(const Value& value);
Value& child(Value& value, size_t index);

}  // namespace yoloquant::checkpoint
