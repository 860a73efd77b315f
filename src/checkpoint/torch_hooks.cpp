#include "checkpoint/torch_hooks.h"

#include "base/error.h"
#include "checkpoint/torch_types.h"

namespace yoloquant::checkpoint {

namespace {

Shape read_shape(const Value& value) {
  Shape shape;
  shape.reserve(value.items().size());
  for (const Value& item : value.items()) shape.push_back(item.as_int());
  if (shape.size() > 64) fail("a tensor of {} dimensions", shape.size());
  return shape;
}

// Type of the elements from the class of a storage; none for an untyped one.
std::optional<DType> storage_dtype(const Value& type) {
  const Global& global = type.as_global();
  if (global.name == "UntypedStorage") return std::nullopt;
  if (const auto dtype = dtype_of_torch_storage(global.name)) return dtype;
  fail("tensors of type {} are not supported", global.full_name());
}

void require(const Items& args, size_t count, std::string_view function) {
  if (args.size() < count) fail("{} got {} arguments, needs {}", function, args.size(), count);
}

}  // namespace

// The id is ("storage", storage class, key, location, number of elements).
Value TorchHooks::persistent_load(const Value& id) {
  const Items& parts = id.items();
  if (parts.size() < 5 || !parts[0].is_string() || parts[0].as_string() != "storage") {
    fail("a persistent id that is no storage");
  }
  const std::optional<DType> dtype = storage_dtype(parts[1]);
  const std::string& key = parts[2].as_string();
  const int64_t count = parts[4].as_int();
  const auto known = storages_.find(key);
  if (known != storages_.end() && known->second->dtype == dtype) return Value(known->second);

  const std::string record = prefix_ + "data/" + key;
  const ZipArchive::Entry* entry = archive_.find(record);
  if (entry == nullptr) fail("the archive lacks the record {}", record);
  const uint64_t width = dtype ? element_size(*dtype) : 1;
  if (count < 0 || static_cast<uint64_t>(count) > entry->size / width) {
    fail("storage {} declares {} elements, its record has {} bytes", key, count, entry->size);
  }
  auto storage = std::make_shared<Storage>();
  storage->key = key;
  storage->bytes = archive_.contents(*entry, verify_checksums_ && known == storages_.end())
                       .first(static_cast<size_t>(static_cast<uint64_t>(count) * width));
  storage->owner = owner_;
  storage->dtype = dtype;
  storages_[key] = storage;
  return Value(std::shared_ptr<const Storage>(std::move(storage)));
}

// (storage, storage_offset, size, stride, ...)
Value TorchHooks::make_tensor(const Items& args, std::optional<DType> dtype) {
  const std::shared_ptr<const Storage>& storage = args[0].storage();
  if (!dtype) dtype = storage->dtype;
  if (!dtype) fail("a tensor of unknown type on the untyped storage {}", storage->key);
  TensorView view(storage, *dtype, args[1].as_int(), read_shape(args[2]), read_shape(args[3]));
  if (view.byte_count() > tensor_bytes_left_) {
    fail("the tensors are far larger than the file: shape {} on {} bytes",
         shape_string(view.shape()), storage->bytes.size());
  }
  tensor_bytes_left_ -= view.byte_count();
  return Value(std::move(view));
}

std::optional<Value> TorchHooks::call_utils(const std::string& name, const Items& args) {
  if (name == "_rebuild_tensor" || name == "_rebuild_tensor_v2") {
    require(args, 4, name);
    return make_tensor(args, std::nullopt);
  }
  if (name == "_rebuild_tensor_v3") {
    require(args, 7, name);
    const Global& type = args[6].as_global();
    const auto dtype = dtype_of_torch_dtype(type.name);
    if (!dtype) fail("tensors of type {} are not supported", type.full_name());
    return make_tensor(args, dtype);
  }
  if (name == "_rebuild_parameter" || name == "_rebuild_parameter_with_state") {
    require(args, 1, name);
    if (!args[0].is_tensor()) fail("a parameter without tensor");
    return args[0];
  }
  return std::nullopt;
}

std::optional<Value> TorchHooks::call(const Global& function, const Items& args) {
  if (function.module == "torch._utils") return call_utils(function.name, args);
  if (function.module == "torch._tensor" && function.name == "_rebuild_from_type_v2") {
    // (function, type, args, state): the tensor is what the function makes.
    require(args, 3, function.name);
    if (args[0].kind() != Kind::kGlobal || !args[2].is_sequence()) return std::nullopt;
    const Global& inner = args[0].as_global();
    if (inner.module != "torch._utils") return std::nullopt;
    return call_utils(inner.name, args[2].items());
  }
  if (function.module == "torch" && function.name == "Size") {
    if (args.size() != 1 || !args[0].is_sequence()) return std::nullopt;
    return Value::tuple(args[0].items());
  }
  if (function.module == "torch" && function.name == "device") {
    // ("cuda", 0) -> "cuda:0"
    if (args.empty() || !args[0].is_string()) return std::nullopt;
    if (args.size() == 1 || args[1].kind() != Kind::kInt) return args[0];
    return Value(fmt::format("{}:{}", args[0].as_string(), args[1].as_int()));
  }
  return PickleHooks::call(function, args);
}

}  // namespace yoloquant::checkpoint
