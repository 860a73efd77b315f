// What PickleHooks knows of Python itself: constructors of plain data, each a function of data
// only.
#include <bit>
#include <cstring>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "checkpoint/pickle_reader.h"
#include "checkpoint/pickle_scalars.h"

namespace yoloquant::checkpoint {

namespace {

using Constructor = std::optional<Value> (*)(const Items&);

// The items of the only argument; none without argument. nullopt when it is no sequence.
std::optional<Items> only_sequence(const Items& args) {
  if (args.empty()) return Items{};
  if (args.size() != 1 || !args[0].is_sequence()) return std::nullopt;
  return args[0].items();
}

std::optional<Value> make_set(const Items& args) {
  if (auto items = only_sequence(args)) return Value::set(*std::move(items));
  return std::nullopt;
}

std::optional<Value> make_list(const Items& args) {
  if (auto items = only_sequence(args)) return Value::list(*std::move(items));
  return std::nullopt;
}

std::optional<Value> make_tuple(const Items& args) {
  if (auto items = only_sequence(args)) return Value::tuple(*std::move(items));
  return std::nullopt;
}

// Entries from a dict or from a sequence of pairs.
std::optional<Entries> dict_entries(const Items& args) {
  if (args.size() == 1 && args[0].is_dict()) return args[0].entries();
  const auto items = only_sequence(args);
  if (!items) return std::nullopt;
  Entries entries;
  for (const Value& item : *items) {
    if (!item.is_sequence() || item.items().size() != 2) return std::nullopt;
    entries.emplace_back(item.items()[0], item.items()[1]);
  }
  return entries;
}

std::optional<Value> make_dict(const Items& args) {
  if (auto entries = dict_entries(args)) return Value::dict(*std::move(entries));
  return std::nullopt;
}

std::optional<Value> make_ordered_dict(const Items& args) {
  if (auto entries = dict_entries(args)) return Value::ordered_dict(*std::move(entries));
  return std::nullopt;
}

// defaultdict(factory, ...): the factory is dropped.
std::optional<Value> make_default_dict(const Items& args) {
  return make_dict(args.empty() ? args : Items(args.begin() + 1, args.end()));
}

// _codecs.encode(text, "latin1"): how protocol 2 stores bytes.
std::optional<Value> encode_bytes(const Items& args) {
  if (args.size() != 2 || !args[0].is_string() || !args[1].is_string()) return std::nullopt;
  if (args[1].as_string() != "latin1") return std::nullopt;
  return Value(Bytes{utf8_to_latin1(args[0].as_string())});
}

std::optional<Value> make_bytes(const Items& args) {
  if (args.empty()) return Value(Bytes{});
  if (args.size() == 1 && args[0].kind() == Kind::kBytes) return args[0];
  return std::nullopt;
}

constexpr size_t kMaxPath = 65536;

// pathlib keeps a path as its parts.
std::optional<Value> make_path(const Items& args) {
  std::string path;
  for (const Value& part : args) {
    if (!part.is_string()) return std::nullopt;
    if (!path.empty() && path.back() != '/') path += '/';
    path += part.as_string();
    if (path.size() > kMaxPath) fail("a path of more than {} bytes", kMaxPath);
  }
  return Value(path.empty() ? std::string(".") : path);
}

template <typename T>
std::optional<Value> number_from(const std::string& bytes) {
  if (bytes.size() != sizeof(T)) return std::nullopt;
  T number{};
  std::memcpy(&number, bytes.data(), sizeof number);
  if constexpr (std::is_floating_point_v<T>) {
    return Value(static_cast<double>(number));
  } else {
    return Value(static_cast<int64_t>(number));
  }
}

// numpy's scalar(dtype, bytes), with the dtype an inert record of its type code ("f8").
std::optional<Value> numpy_scalar(const Items& args) {
  if (args.size() != 2 || !args[0].is_object() || args[1].kind() != Kind::kBytes) {
    return std::nullopt;
  }
  const Object& dtype = args[0].as_object();
  if (dtype.type_name() != "numpy.dtype" || dtype.args.items().empty() ||
      !dtype.args.items()[0].is_string()) {
    return std::nullopt;
  }
  const std::string& code = dtype.args.items()[0].as_string();
  const std::string& bytes = args[1].as_bytes();
  if (code == "f8") return number_from<double>(bytes);
  if (code == "f4") return number_from<float>(bytes);
  if (code == "i8") return number_from<int64_t>(bytes);
  if (code == "i4") return number_from<int32_t>(bytes);
  if (code == "b1" && bytes.size() == 1) return Value(bytes[0] != 0);
  return std::nullopt;
}

const std::unordered_map<std::string, Constructor>& constructors() {
  static const std::unordered_map<std::string, Constructor> kConstructors = [] {
    std::unordered_map<std::string, Constructor> table = {
        {"collections.OrderedDict", make_ordered_dict},
        {"collections.defaultdict", make_default_dict},
        {"_codecs.encode", encode_bytes},
        {"numpy.core.multiarray.scalar", numpy_scalar},
        {"numpy._core.multiarray.scalar", numpy_scalar},
    };
    for (const std::string module : {"builtins", "__builtin__"}) {
      table[module + ".set"] = make_set;
      table[module + ".frozenset"] = make_set;
      table[module + ".list"] = make_list;
      table[module + ".tuple"] = make_tuple;
      table[module + ".dict"] = make_dict;
      table[module + ".bytes"] = make_bytes;
      table[module + ".bytearray"] = make_bytes;
    }
    for (const std::string module : {"pathlib", "pathlib._local"}) {
      for (const char* name :
           {".Path", ".PosixPath", ".WindowsPath", ".PurePosixPath", ".PureWindowsPath"}) {
        table[module + name] = make_path;
      }
    }
    return table;
  }();
  return kConstructors;
}

}  // namespace

Value PickleHooks::persistent_load(const Value& /*id*/) {
  fail("the pickle refers to data outside of it, and there is none");
}

std::optional<Value> PickleHooks::call(const Global& function, const Items& args) {
  const auto known = constructors().find(function.full_name());
  if (known == constructors().end()) return std::nullopt;
  return known->second(args);
}

}  // namespace yoloquant::checkpoint
