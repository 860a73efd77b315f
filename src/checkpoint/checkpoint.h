#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/pickle_reader.h"
#include "checkpoint/value.h"
#include "tensor/tensor.h"

// Checkpoints of detectors: Ultralytics' .pt files, plain-dict .pt files, bare state dicts and
// safetensors, all read without running anything. For other files of torch.save see
// torch_archive.h.
namespace yoloquant::checkpoint {

enum class Source {
  kUltralyticsModule,  // a pickled torch.nn.Module
  kPlainDict,          // a dict with state dicts under model_state_dict, ema_state_dict, ...
  kStateDict,          // nothing but named tensors
  kSafetensors,
};

std::string_view source_name(Source source);  // "Ultralytics module", ...

struct Checkpoint {
  // Weights and buffers under the names of Ultralytics' state dict ("model.0.conv.weight"), in the
  // types of the file. The averaged weights (EMA) when the file has any.
  TensorMap state;
  // The names as torch lists them; the parameters' numbers in an optimizer state follow it. May be
  // empty or incomplete: writers then go by name.
  std::vector<std::string> order;
  // The weights that are not averaged: read on request (ReadOptions::both_entries), written as
  // model_state_dict beside the averaged ones.
  TensorMap raw_state;

  std::map<int64_t, std::string> names;  // class id -> name
  std::vector<double> stride;            // of the heads, in pixels
  Value yaml;                            // the model's definition (dict), None when unknown
  Value args;                            // the model's own arguments (dict or None)
  Value train_args;                      // dict or None
  std::optional<int64_t> epoch;
  std::string date;
  std::string version;  // of the writing library
  std::string task;     // "detect"
  Value optimizer;      // its state_dict() as data, None when stripped
  // Everything else at the top of the file (best_fitness, updates, train_metrics, ...): a dict.
  Value extras = Value::dict();

  Source source = Source::kStateDict;
  std::string entry;  // where `state` is from: "ema", "model", "ema_state_dict", "" (all of it)
  std::string model_class;  // "ultralytics.nn.tasks.YOLOv10DetectionModel", or ""

  // Whether `state` holds averaged weights.
  bool is_averaged() const { return entry == "ema" || entry == "ema_state_dict"; }
  // Number of classes: of the names, else of the definition.
  std::optional<int64_t> class_count() const;
};

struct ReadOptions {
  PickleLimits limits;
  bool verify_checksums = true;
  bool optimizer = true;      // read the optimizer state too
  bool both_entries = false;  // read raw_state too, when the file has both kinds of weights
};

// Reads a checkpoint; all of it is in memory afterwards. Throws Error that starts with the path:
// with the byte or key for malformed files, with the keys found when they are no checkpoint's.
Checkpoint read(const std::filesystem::path& path, const ReadOptions& options = {});
// The same for a file in memory; `owner` keeps `bytes` alive, while reading.
Checkpoint read_bytes(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner,
                      const ReadOptions& options = {});

enum class Format {
  kByExtension,  // .safetensors, otherwise torch
  kTorch,        // a dict for torch.load(weights_only=True), see below
  kSafetensors,  // tensors, and metadata as JSON texts; no optimizer state and no extras
};

struct WriteOptions {
  Format format = Format::kByExtension;
  // The type of all floating-point weights; unchanged when not set.
  std::optional<DType> dtype;
};

// Writes the checkpoint atomically. The dict has the keys epoch, model_state_dict, ema_state_dict
// (None unless the weights are averaged), optimizer, train_args, date, and what is needed to
// rebuild the model: names, nc, stride, yaml, args, task, version; then the extras. State dicts are
// OrderedDicts that torch.nn.Module.load_state_dict takes.
void write(const std::filesystem::path& path, const Checkpoint& checkpoint,
           const WriteOptions& options = {});

}  // namespace yoloquant::checkpoint
