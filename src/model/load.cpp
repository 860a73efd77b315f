#include "model/load.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "checkpoint/value_text.h"
#include "model/model.h"

namespace yoloquant::model {
namespace {

// Any size does for looking at parameters.
constexpr int64_t kSmallImage = 64;

// Classes of a v10Detect head, from the bias of its last classification conv; 0 when there is none.
int64_t class_count_of(const TensorMap& state) {
  for (const auto& [name, tensor] : state) {
    if (name.ends_with(".cv3.0.2.bias") && name.find("one2one") == std::string::npos &&
        tensor.rank() == 1) {
      return tensor.dim(0);
    }
  }
  return 0;
}

bool same_parameters(const Definition& definition, const TensorMap& state) {
  const TensorMap wanted = state_dict(build(definition, kSmallImage, kSmallImage));
  return std::ranges::all_of(wanted, [&](const auto& entry) {
    const auto found = state.find(entry.first);
    if (found == state.end()) return entry.first.ends_with(".num_batches_tracked");
    return found->second.shape() == entry.second.shape();
  });
}

Definition infer_definition(const TensorMap& state) {
  const int64_t class_count = class_count_of(state);
  if (class_count > 0) {
    for (const std::string& name : builtin_definitions()) {
      Definition definition = load_definition(name, class_count);
      if (same_parameters(definition, state)) return definition;
    }
  }
  fail(
      "the checkpoint holds no model definition, and its {} tensors (such as {}) fit none of the "
      "built-in ones",
      state.size(), state.empty() ? "none" : state.begin()->first);
}

std::string text_under(const checkpoint::Value& dict, std::string_view key) {
  const checkpoint::Value* value = dict.find(key);
  return value != nullptr && value->is_string() ? value->as_string() : "";
}

}  // namespace

Definition definition_of(const checkpoint::Checkpoint& checkpoint, const std::string& name) {
  if (!checkpoint.yaml.is_dict()) return infer_definition(checkpoint.state);
  // The name decides the scale where the definition does not say; a renamed file keeps the name of
  // the definition that it was made from.
  const std::string origin =
      std::filesystem::path(text_under(checkpoint.yaml, "yaml_file")).stem().string();
  return with_context("its model definition", [&] {
    return parse_definition(checkpoint::to_yaml(checkpoint.yaml), origin.empty() ? name : origin,
                            "", class_count_of(checkpoint.state));
  });
}

graph::Graph from_checkpoint(const checkpoint::Checkpoint& checkpoint, const std::string& name,
                             int64_t image_height, int64_t image_width) {
  const Definition definition = definition_of(checkpoint, name);
  graph::Graph graph = build(definition, image_height, image_width);
  load_state(graph, checkpoint.state);
  for (const auto& [id, text] : checkpoint.names) {
    if (id >= 0 && id < definition.class_count) {
      graph.metadata.names[static_cast<int>(id)] = text;
    }
  }
  return graph;
}

}  // namespace yoloquant::model
