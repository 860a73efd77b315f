#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "checkpoint/value.h"

// A restricted pickle machine for protocols 2 to 5: it builds data and can do nothing else. There
// is no import and no call in it. A callable named by the pickle is a pair of strings; the few
// constructors of plain data that PickleHooks knows are interpreted, every other call becomes an
// inert Object.
// Format: CPython's Lib/pickletools.py.
namespace yoloquant::checkpoint {

struct PickleLimits {
  size_t max_depth = 500;          // containers within containers
  size_t max_items = 8'000'000;    // values pushed in all
  size_t max_integer_bytes = 256;  // of one big integer
};

// What a pickle machine may build besides the plain values. The base class knows Python's own data
// types (OrderedDict, set, numpy scalars, ...); derived classes add those of a library.
class PickleHooks {
 public:
  virtual ~PickleHooks() = default;

  // The value behind a persistent id. Throws Error when there is none.
  virtual Value persistent_load(const Value& id);
  // The result of calling `function` with `args`, or nullopt for a call to be kept inert.
  virtual std::optional<Value> call(const Global& function, const Items& args);
};

// The value that the pickle called `name` holds. Throws Error with the byte offset ("data.pkl, byte
// 412: ...") when the pickle is malformed or exceeds a limit. Where an object is inside itself
// there is a BackReference.
Value read_pickle(std::span<const std::byte> bytes, std::string_view name, PickleHooks& hooks,
                  const PickleLimits& limits = {});

}  // namespace yoloquant::checkpoint
