#include "checkpoint/state_dict.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"

namespace yoloquant::checkpoint {

namespace {

// A pickle can share modules so that the tree has far more names than the file has bytes.
constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxModules = 100'000;
constexpr size_t kMaxModuleDepth = 500;
constexpr size_t kMaxAttributes = 10'000;
constexpr size_t kMaxNameSize = 4096;

// A dict under an attribute of a module, or nullptr when it has none.
const Value* dict_attribute(const Object& module, std::string_view name) {
  const Value* found = module.attribute(name);
  return found != nullptr && found->is_dict() ? found : nullptr;
}

// Collects tensors; a tensor known under several names is read once and shared.
class Collector {
 public:
  void add(const std::string& name, const Value& tensor) {
    if (name.size() > kMaxNameSize)
      fail("the name of a tensor has more than {} bytes", kMaxNameSize);
    if (result_.order.size() >= kMaxTensors) fail("more than {} tensors", kMaxTensors);
    const auto [known, is_new] = loaded_.try_emplace(tensor.identity());
    if (is_new) known->second = with_context(name, [&] { return tensor.tensor(); });
    if (result_.tensors.insert_or_assign(name, known->second).second) {
      result_.order.push_back(name);
    }
  }
  StateDict take() { return std::move(result_); }

 private:
  StateDict result_;
  std::unordered_map<const void*, Tensor> loaded_;
};

class ModuleWalk {
 public:
  void visit(const Value& value, const std::string& prefix) {
    if (++modules_ > kMaxModules) fail("more than {} submodules", kMaxModules);
    if (prefix.size() > kMaxNameSize || on_path_.size() >= kMaxModuleDepth) {
      fail("submodules are nested more than {} deep", kMaxModuleDepth);
    }
    if (!on_path_.insert(value.identity()).second) {
      fail("module {} contains itself", prefix.empty() ? "(root)" : prefix);
    }
    const Object& module = value.as_object();
    add_tensors(module, "_parameters", nullptr, prefix);
    add_tensors(module, "_buffers", module.attribute("_non_persistent_buffers_set"), prefix);
    if (const Value* children = dict_attribute(module, "_modules")) {
      for (const auto& [name, entry] : children->entries()) {
        const Value submodule = entry.resolve();
        if (is_module(submodule)) visit(submodule, prefix + name.as_string() + ".");
      }
    }
    on_path_.erase(value.identity());
  }
  StateDict take() { return collector_.take(); }

 private:
  void add_tensors(const Object& module, std::string_view attribute, const Value* excluded,
                   const std::string& prefix) {
    const Value* dict = dict_attribute(module, attribute);
    if (dict == nullptr) return;
    for (const auto& [name, tensor] : dict->entries()) {
      if (tensor.is_none() || is_excluded(excluded, name.as_string())) continue;
      if (!tensor.is_tensor()) {
        fail("{}{}: expected a tensor, found {}", prefix, name.as_string(),
             kind_name(tensor.kind()));
      }
      collector_.add(prefix + name.as_string(), tensor);
    }
  }

  static bool is_excluded(const Value* excluded, const std::string& name) {
    if (excluded == nullptr || !excluded->is_sequence()) return false;
    if (excluded->items().size() > kMaxAttributes) fail("too many buffers that are not persistent");
    return std::ranges::any_of(excluded->items(), [&](const Value& item) {
      return item.is_string() && item.as_string() == name;
    });
  }

  Collector collector_;
  size_t modules_ = 0;
  std::unordered_set<const void*> on_path_;
};

size_t wrapper_prefix(const Entries& entries) {
  for (const std::string_view prefix : {"module.", "_orig_mod."}) {
    if (std::ranges::all_of(entries, [&](const auto& entry) {
          return entry.first.as_string().starts_with(prefix);
        })) {
      return prefix.size();
    }
  }
  return 0;
}

}  // namespace

bool is_module(const Value& value) {
  if (!value.is_object()) return false;
  const Object& object = value.as_object();
  // Attributes are looked up one after the other, and a pickle can share a huge dict of them.
  return object.state.is_dict() && object.state.entries().size() <= kMaxAttributes &&
         dict_attribute(object, "_modules") != nullptr;
}

StateDict state_dict_of_module(const Value& module) {
  ModuleWalk walk;
  walk.visit(module, "");
  return walk.take();
}

bool is_state_dict(const Value& value) {
  return value.is_dict() && !value.entries().empty() &&
         std::ranges::all_of(value.entries(), [](const auto& entry) {
           return entry.first.is_string() && entry.second.is_tensor();
         });
}

StateDict state_dict_of_dict(const Value& dict) {
  Collector collector;
  const size_t prefix = wrapper_prefix(dict.entries());
  for (const auto& [name, tensor] : dict.entries()) {
    collector.add(name.as_string().substr(prefix), tensor);
  }
  return collector.take();
}

}  // namespace yoloquant::checkpoint
