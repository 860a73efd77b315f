#include <algorithm>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_fields.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch_archive.h"
#include "checkpoint/value_text.h"

namespace yoloquant::checkpoint {

namespace {

Tensor converted(const Tensor& tensor, const WriteOptions& options) {
  if (!options.dtype || !is_floating_point(tensor.dtype())) return tensor;
  return tensor.to(*options.dtype);
}

// In the order of `order` as far as it goes, then by name.
Value state_to_value(const TensorMap& state, const std::vector<std::string>& order,
                     const WriteOptions& options) {
  Entries entries;
  TensorMap left = state;
  for (const std::string& name : order) {
    const auto found = left.find(name);
    if (found == left.end()) continue;
    entries.emplace_back(name, converted(found->second, options));
    left.erase(found);
  }
  for (const auto& [name, tensor] : left) entries.emplace_back(name, converted(tensor, options));
  return Value::ordered_dict(std::move(entries));
}

Value text_or_none(const std::string& text) { return text.empty() ? Value() : Value(text); }

// What describes the model, in the order in which it is written.
Entries model_fields(const Checkpoint& checkpoint) {
  Entries fields;
  if (!checkpoint.names.empty()) fields.emplace_back("names", names_to_value(checkpoint.names));
  if (const auto count = checkpoint.class_count()) fields.emplace_back("nc", *count);
  if (!checkpoint.stride.empty()) fields.emplace_back("stride", stride_to_value(checkpoint.stride));
  if (!checkpoint.yaml.is_none()) fields.emplace_back("yaml", to_plain(checkpoint.yaml));
  if (!checkpoint.args.is_none()) fields.emplace_back("args", to_plain(checkpoint.args));
  if (!checkpoint.task.empty()) fields.emplace_back("task", checkpoint.task);
  if (!checkpoint.version.empty()) fields.emplace_back("version", checkpoint.version);
  return fields;
}

void write_torch(const std::filesystem::path& path, const Checkpoint& checkpoint,
                 const WriteOptions& options) {
  const Value state = state_to_value(checkpoint.state, checkpoint.order, options);
  const bool has_raw = !checkpoint.raw_state.empty();
  Value root = Value::dict();
  root.set_item("epoch", checkpoint.epoch ? Value(*checkpoint.epoch) : Value());
  root.set_item("model_state_dict",
                has_raw ? state_to_value(checkpoint.raw_state, checkpoint.order, options) : state);
  root.set_item("ema_state_dict", has_raw || checkpoint.is_averaged() ? state : Value());
  root.set_item("optimizer", to_plain(checkpoint.optimizer));
  root.set_item("train_args", to_plain(checkpoint.train_args));
  root.set_item("date", text_or_none(checkpoint.date));
  for (const auto& [key, value] : model_fields(checkpoint)) root.set_item(key.as_string(), value);
  for (const auto& [key, value] : checkpoint.extras.entries()) {
    if (root.find(key.as_string()) == nullptr) root.set_item(key.as_string(), to_plain(value));
  }
  write_torch_file(path, root);
}

void write_as_safetensors(const std::filesystem::path& path, const Checkpoint& checkpoint,
                          const WriteOptions& options) {
  Safetensors contents;
  for (const auto& [name, tensor] : checkpoint.state) {
    contents.tensors.emplace(name, converted(tensor, options));
  }
  contents.metadata["format"] = "pt";
  for (const auto& [key, value] : model_fields(checkpoint)) {
    contents.metadata[key.as_string()] = value.is_string() ? value.as_string() : to_json(value);
  }
  if (!checkpoint.train_args.is_none()) {
    contents.metadata["train_args"] = to_json(checkpoint.train_args);
  }
  if (checkpoint.epoch) contents.metadata["epoch"] = std::to_string(*checkpoint.epoch);
  if (!checkpoint.date.empty()) contents.metadata["date"] = checkpoint.date;
  if (checkpoint.is_averaged()) contents.metadata["entry"] = checkpoint.entry;
  write_safetensors(path, contents);
}

}  // namespace

void write(const std::filesystem::path& path, const Checkpoint& checkpoint,
           const WriteOptions& options) {
  Format format = options.format;
  if (format == Format::kByExtension) {
    format = path.extension() == ".safetensors" ? Format::kSafetensors : Format::kTorch;
  }
  if (format == Format::kSafetensors) return write_as_safetensors(path, checkpoint, options);
  write_torch(path, checkpoint, options);
}

}  // namespace yoloquant::checkpoint
