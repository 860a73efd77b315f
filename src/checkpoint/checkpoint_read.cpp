#include <algorithm>
#include <array>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_fields.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/state_dict.h"
#include "checkpoint/torch_archive.h"
#include "checkpoint/value_text.h"

namespace yoloquant::checkpoint {

namespace {

// Where weights may be, averaged ones first.
constexpr std::array<std::string_view, 5> kEntries = {"ema", "ema_state_dict", "model",
                                                      "model_state_dict", "state_dict"};

bool holds_weights(const Value& value) { return is_module(value) || is_state_dict(value); }

bool is_entry(std::string_view key) { return std::ranges::find(kEntries, key) != kEntries.end(); }

// "keys a, b, c" for the message about a file that is no checkpoint.
std::string keys_text(const Value& root) {
  if (!root.is_dict()) return std::string(kind_name(root.kind()));
  std::string text = "a dict with keys";
  size_t shown = 0;
  for (const auto& [key, value] : root.entries()) {
    if (++shown > 8) return text + ", ...";
    const std::string name = to_json(key);
    text += (shown > 1 ? ", " : " ") + name.substr(0, 40);
  }
  return text;
}

StateDict weights_of(const Value& value) {
  return is_module(value) ? state_dict_of_module(value) : state_dict_of_dict(value);
}

void take_weights(Checkpoint& checkpoint, const Value& value) {
  StateDict state = weights_of(value);
  checkpoint.state = std::move(state.tensors);
  checkpoint.order = std::move(state.order);
}

// The attributes that Ultralytics sets on its models.
void take_module_fields(Checkpoint& checkpoint, const Value& module) {
  const Object& object = module.as_object();
  checkpoint.model_class = object.type_name();
  for (const std::string_view key : {"names", "stride", "yaml", "args", "task"}) {
    if (const Value* value = object.attribute(key)) set_field(checkpoint, key, *value);
  }
}

void take_dict_fields(Checkpoint& checkpoint, const Value& root, const ReadOptions& options) {
  constexpr size_t kMaxKeys = 10'000;
  if (root.entries().size() > kMaxKeys) fail("a dict of more than {} keys", kMaxKeys);
  for (const auto& [name, value] : root.entries()) {
    const std::string key = name.is_string() ? name.as_string() : to_json(name);
    if (key == "optimizer") {
      if (options.optimizer) checkpoint.optimizer = to_plain(value);
    } else if (is_entry(key) && (holds_weights(value) || value.is_none())) {
      continue;
    } else if (!set_field(checkpoint, key, value)) {
      checkpoint.extras.set_item(key, to_plain(value));
    }
  }
}

// The weights beside the averaged ones, when they are asked for.
void take_raw_state(Checkpoint& checkpoint, const Value& root) {
  if (!checkpoint.is_averaged()) return;
  for (const std::string_view key : {"model", "model_state_dict"}) {
    const Value* value = root.find(key);
    if (value != nullptr && holds_weights(*value)) {
      checkpoint.raw_state =
          with_context(std::string(key), [&] { return weights_of(*value); }).tensors;
      return;
    }
  }
}

// Takes the first entry of the dict with weights. False when there is none.
bool take_entry(Checkpoint& checkpoint, const Value& root) {
  for (const std::string_view key : kEntries) {
    const Value* value = root.find(key);
    if (value == nullptr || !holds_weights(*value)) continue;
    checkpoint.entry = key;
    with_context(checkpoint.entry, [&] {
      take_weights(checkpoint, *value);
      if (is_module(*value)) take_module_fields(checkpoint, *value);
    });
    checkpoint.source = is_module(*value) ? Source::kUltralyticsModule : Source::kPlainDict;
    return true;
  }
  return false;
}

Checkpoint from_torch(const Value& root, const ReadOptions& options) {
  Checkpoint checkpoint;
  if (is_module(root)) {
    take_weights(checkpoint, root);
    take_module_fields(checkpoint, root);
    checkpoint.source = Source::kUltralyticsModule;
  } else if (is_state_dict(root)) {
    take_weights(checkpoint, root);
    checkpoint.source = Source::kStateDict;
  } else if (root.is_dict() && take_entry(checkpoint, root)) {
    take_dict_fields(checkpoint, root, options);
    if (options.both_entries) take_raw_state(checkpoint, root);
    load_tensors(checkpoint.optimizer);
    load_tensors(checkpoint.extras);
  } else {
    fail(
        "no model weights: expected a model or a state dict, alone or under ema, ema_state_dict, "
        "model, model_state_dict or state_dict; found {}",
        keys_text(root));
  }
  if (checkpoint.state.empty()) fail("the model in it has no weights");
  return checkpoint;
}

// Metadata are texts; ours are JSON, other writers' may be anything.
Value metadata_value(const std::string& text) {
  try {
    return parse_json(text);
  } catch (const Error&) {
    return text;
  }
}

Checkpoint from_safetensors(Safetensors contents) {
  Checkpoint checkpoint;
  checkpoint.source = Source::kSafetensors;
  checkpoint.state = std::move(contents.tensors);
  for (const auto& [name, tensor] : checkpoint.state) checkpoint.order.push_back(name);
  for (const auto& [key, text] : contents.metadata) {
    if (key == "format" || key == "nc") continue;
    const bool is_text = key == "date" || key == "version" || key == "task";
    const Value value = is_text ? Value(text) : metadata_value(text);
    if (key == "entry" && value.is_string()) {
      checkpoint.entry = value.as_string();
      continue;
    }
    try {
      if (set_field(checkpoint, key, value)) continue;
    } catch (const Error&) {  // a text under a key of ours that means something else
    }
    checkpoint.extras.set_item(key, text);
  }
  if (checkpoint.state.empty()) fail("no tensors in it");
  return checkpoint;
}

}  // namespace

std::string_view source_name(Source source) {
  switch (source) {
    case Source::kUltralyticsModule:
      return "Ultralytics module";
    case Source::kPlainDict:
      return "plain dict";
    case Source::kStateDict:
      return "state dict";
    case Source::kSafetensors:
      return "safetensors";
  }
  return "";
}

Checkpoint read_bytes(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner,
                      const ReadOptions& options) {
  if (is_safetensors(bytes)) return from_safetensors(read_safetensors_bytes(bytes));
  const TorchReadOptions torch_options{options.limits, options.verify_checksums};
  return from_torch(read_torch_bytes(bytes, owner, torch_options), options);
}

Checkpoint read(const std::filesystem::path& path, const ReadOptions& options) {
  const auto file = std::make_shared<const MappedFile>(path);
  return with_context(path.string(), [&] { return read_bytes(file->bytes(), file, options); });
}

}  // namespace yoloquant::checkpoint
