#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/torch_archive.h"
#include "checkpoint/value_text.h"
#include "cli/commands.h"
#include "cli/terminal.h"

namespace yoloquant::cli {

namespace {

struct ConvertArguments {
  std::filesystem::path in;
  std::filesystem::path out;
  std::string dtype = "same";
  bool optimizer = true;
  bool both = true;

  void declare(Options& o) {
    o.section("Arguments");
    o.positional("in", &in, "checkpoint to read").is_required().completes(Completion::kFiles);
    o.positional("out", &out, "file to write: .safetensors, or .pt as a dict without classes")
        .is_required()
        .completes(Completion::kFiles);
    o.section("Contents");
    o.add("dtype", &dtype, "type of floating-point weights")
        .one_of({"same", "float32", "float16", "bfloat16"});
    o.add("optimizer", &optimizer, "keep the optimizer's state (.pt)");
    o.add("both", &both, "keep raw weights beside averaged ones (.pt)");
  }
};

std::optional<DType> parse_dtype(const std::string& name) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    if (dtype_name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

int run_convert(const ConvertArguments& arguments, Context& context) {
  checkpoint::ReadOptions read;
  read.optimizer = arguments.optimizer;
  read.both_entries = arguments.both;
  const checkpoint::Checkpoint contents = checkpoint::read(arguments.in, read);
  checkpoint::WriteOptions write;
  write.dtype = parse_dtype(arguments.dtype);
  checkpoint::write(arguments.out, contents, write);
  const auto bytes = std::filesystem::file_size(arguments.out);
  context.result(
      {{"path", arguments.out.string()}, {"tensors", contents.state.size()}, {"file_bytes", bytes}},
      fmt::format("{}: {} tensors, {}\n", arguments.out.string(), contents.state.size(),
                  human_bytes(static_cast<double>(bytes))));
  return 0;
}

struct ShowArguments {
  std::filesystem::path file;
  bool tensors = true;
  bool raw = false;

  void declare(Options& o) {
    o.section("Arguments");
    o.positional("file", &file, "checkpoint").is_required().completes(Completion::kFiles);
    o.section("Contents");
    o.add("tensors", &tensors, "list the tensors");
    o.add("raw", &raw, "all of a .pt file as JSON, just as it is stored, whatever it is");
  }
};

using Json = nlohmann::ordered_json;

Json value_json(const checkpoint::Value& value) { return Json::parse(checkpoint::to_json(value)); }

// {"type", "param_groups": [...], "tensors"} of an optimizer's state_dict().
Json optimizer_json(const checkpoint::Value& optimizer) {
  if (!optimizer.is_dict()) return {};
  Json json = Json::object();
  if (const auto* groups = optimizer.find("param_groups"); groups && groups->is_sequence()) {
    json["param_groups"] = Json::array();
    for (const checkpoint::Value& group : groups->items()) {
      Json row = value_json(group);
      if (row.is_object() && row.contains("params")) row["params"] = row["params"].size();
      json["param_groups"].push_back(row);
    }
  }
  if (const auto* state = optimizer.find("state"); state && state->is_dict()) {
    json["parameters_with_state"] = state->entries().size();
  }
  return json;
}

std::vector<std::string> tensor_names(const checkpoint::Checkpoint& contents) {
  if (contents.order.size() == contents.state.size()) return contents.order;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : contents.state) names.push_back(name);
  return names;
}

Json tensors_json(const checkpoint::Checkpoint& contents) {
  Json rows = Json::array();
  for (const std::string& name : tensor_names(contents)) {
    const auto found = contents.state.find(name);
    if (found == contents.state.end()) continue;
    rows.push_back({{"name", name},
                    {"dtype", dtype_name(found->second.dtype())},
                    {"shape", found->second.shape()}});
  }
  return rows;
}

Json show_json(const checkpoint::Checkpoint& contents, bool tensors) {
  int64_t elements = 0;
  size_t bytes = 0;
  for (const auto& [name, tensor] : contents.state) {
    elements += tensor.size();
    bytes += tensor.bytes().size();
  }
  Json json = {{"source", checkpoint::source_name(contents.source)},
               {"entry", contents.entry},
               {"model_class", contents.model_class},
               {"averaged", contents.is_averaged()},
               {"task", contents.task},
               {"version", contents.version},
               {"date", contents.date},
               {"epoch", contents.epoch ? Json(*contents.epoch) : Json()},
               {"classes", contents.class_count() ? Json(*contents.class_count()) : Json()},
               {"stride", contents.stride},
               {"tensor_count", contents.state.size()},
               {"elements", elements},
               {"bytes", bytes},
               {"names", Json::object()},
               {"args", value_json(contents.args)},
               {"train_args", value_json(contents.train_args)},
               {"optimizer", optimizer_json(contents.optimizer)},
               {"yaml", value_json(contents.yaml)},
               {"extras", value_json(contents.extras)}};
  for (const auto& [id, name] : contents.names) json["names"][std::to_string(id)] = name;
  if (tensors) json["tensors"] = tensors_json(contents);
  return json;
}

std::string plain(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string show_text(const Json& json) {
  std::string text;
  for (const char* key : {"source", "entry", "model_class", "task", "version", "date", "epoch",
                          "classes", "stride"}) {
    if (json[key].is_null() || plain(json[key]).empty()) continue;
    text += fmt::format("{:<12} {}\n", key, plain(json[key]));
  }
  text +=
      fmt::format("{:<12} {} ({} elements, {})\n", "tensors", json["tensor_count"].get<size_t>(),
                  json["elements"].get<int64_t>(), human_bytes(json["bytes"].get<double>()));
  for (const char* key : {"train_args", "optimizer", "extras"}) {
    if (json[key].empty()) continue;
    text += fmt::format("{}:\n", key);
    for (const auto& [name, value] : json[key].items()) {
      text += fmt::format("  {:<18} {}\n", name, plain(value));
    }
  }
  if (!json.contains("tensors")) return text;
  std::vector<std::vector<std::string>> table = {{"tensor", "type", "shape"}};
  for (const auto& row : json["tensors"]) {
    table.push_back(
        {row["name"].get<std::string>(), row["dtype"].get<std::string>(), row["shape"].dump()});
  }
  return text + format_table(table);
}

int run_show(const ShowArguments& arguments, Context& context) {
  if (arguments.raw) {
    const std::string json = with_context(arguments.file.string(), [&] {
      return checkpoint::to_json(checkpoint::read_torch_file(arguments.file));
    });
    context.result(Json::parse(json), json + "\n");
    return 0;
  }
  const Json json = show_json(checkpoint::read(arguments.file), arguments.tensors);
  context.result(json, show_text(json));
  return 0;
}

}  // namespace

Command checkpoint_convert_command() {
  CommandInfo info;
  info.name = "checkpoint convert";
  info.summary = "write a checkpoint as a plain dict or as safetensors";
  info.details =
      "Reads a checkpoint without running anything in it and writes it as a .pt that "
      "torch.load(weights_only=True) accepts, or as safetensors.";
  info.examples = {
      {"Safe to share", "yoloquant checkpoint convert yolov10n.pt yolov10n.safetensors"},
      {"A plain dict in half precision",
       "yoloquant checkpoint convert last.pt weights.pt --dtype float16 "
       "--no-optimizer"}};
  return define<ConvertArguments>(std::move(info), run_convert);
}

Command checkpoint_show_command() {
  CommandInfo info;
  info.name = "checkpoint show";
  info.summary = "show what a checkpoint holds";
  info.details =
      "Shows what a checkpoint holds, without running anything in it: where its weights are from, "
      "training arguments, epoch, date, optimizer, and all tensors with types and shapes.";
  info.examples = {{"Everything, for a script", "yoloquant checkpoint show yolov10n.pt --json"}};
  return define<ShowArguments>(std::move(info), run_show);
}

}  // namespace yoloquant::cli
