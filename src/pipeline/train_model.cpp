#include "pipeline/train_model.h"

#include <yaml-cpp/yaml.h>

#include "base/error.h"
#include "checkpoint/checkpoint_fields.h"
#include "model/model.h"
#include "pipeline/load_model.h"

namespace yoloquant::pipeline {
namespace {

using checkpoint::Value;

// Plain scalars as Python's YAML reads them: "None" is a text.
Value scalar_value(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  if (text == "True" || text == "true") return true;
  if (text == "False" || text == "false") return false;
  int64_t whole = 0;
  if (YAML::convert<int64_t>::decode(node, whole)) return whole;
  double number = 0;
  if (YAML::convert<double>::decode(node, number)) return number;
  return text;
}

Value yaml_value(const YAML::Node& node) {
  if (node.IsNull()) return {};
  if (node.IsScalar()) return scalar_value(node);
  if (node.IsSequence()) {
    checkpoint::Items items;
    for (const YAML::Node& item : node) items.push_back(yaml_value(item));
    return Value::list(std::move(items));
  }
  Value dict = Value::dict();
  for (const auto& item : node) dict.set_item(item.first.Scalar(), yaml_value(item.second));
  return dict;
}

// As Ultralytics' models carry it in their attribute `yaml`.
Value definition_value(const model::Definition& definition) {
  Value value = yaml_value(YAML::Load(definition.yaml));
  value.set_item("nc", definition.class_count);
  value.set_item("ch", definition.input_channels);
  value.set_item("scale", definition.scale);
  value.set_item("yaml_file", definition.name + ".yaml");
  return value;
}

// Of a checkpoint with other classes: the same model for ours, with the weights that fit.
void change_classes(LoadedModel& loaded, const TrainOptions& options, int64_t classes,
                    std::vector<std::string>& warnings) {
  const int64_t before = loaded.class_count();
  const model::Definition& old = *loaded.definition;
  const TensorMap weights = model::state_dict(loaded.graph);
  loaded.definition = model::parse_definition(old.yaml, old.name, old.scale, classes);
  loaded.graph = model::build(*loaded.definition, options.image_size, options.image_size);
  model::initialize(loaded.graph, options.seed);
  TensorMap state = model::state_dict(loaded.graph);
  size_t taken = 0;
  for (auto& [name, value] : state) {
    const auto found = weights.find(name);
    if (found == weights.end() || found->second.shape() != value.shape()) continue;
    value = found->second;
    ++taken;
  }
  model::load_state(loaded.graph, state);
  warnings.push_back(
      fmt::format("{} has {} classes and the data {}: {} of {} tensors are taken from it, the "
                  "others start anew",
                  options.model, before, classes, taken, state.size()));
}

// The loss takes the bins of box distributions for 0, 1, 2, ...; so must what decodes them. Weights
// that were quantized before may have rounded ones.
void set_exact_bins(graph::Graph& graph, const std::string& model,
                    std::vector<std::string>& warnings) {
  bool differed = false;
  for (auto& [name, parameter] : graph.parameters) {
    if (!name.ends_with("dfl.conv.weight")) continue;
    const std::span<float> bins = parameter.mutable_data<float>();
    for (size_t i = 0; i < bins.size(); ++i) {
      differed = differed || bins[i] != static_cast<float>(i);
      bins[i] = static_cast<float>(i);
    }
  }
  if (!differed) return;
  warnings.push_back(model +
                     ": the bins of its box distributions (DFL) were not 0, 1, 2, ...; "
                     "they are now, as the loss has them");
}

}  // namespace

TrainModel open_train_model(const TrainOptions& options, const std::vector<std::string>& names) {
  const ModelKind kind = model_kind(options.model);
  if (kind == ModelKind::kOnnx) {
    fail_usage("{}: training starts from a definition or a .pt checkpoint, not from ONNX",
               options.model);
  }
  const auto classes = static_cast<int64_t>(names.size());
  LoadOptions load;
  load.image_height = load.image_width = options.image_size;
  if (kind == ModelKind::kDefinition) {
    load.seed = options.seed;
    load.class_count = classes;
  }
  LoadedModel loaded = load_model(options.model, load);
  TrainModel model;
  model.sha256 = loaded.sha256;
  if (loaded.class_count() != classes) change_classes(loaded, options, classes, model.warnings);

  set_exact_bins(loaded.graph, options.model, model.warnings);

  if (loaded.checkpoint) model.description.order = loaded.checkpoint->order;
  model.description.yaml = definition_value(*loaded.definition);
  loaded.graph.metadata.names.clear();
  for (size_t i = 0; i < names.size(); ++i) {
    loaded.graph.metadata.names[static_cast<int>(i)] = names[i];
    model.description.names[static_cast<int64_t>(i)] = names[i];
  }
  for (const int64_t stride : loaded.graph.metadata.strides) {
    model.description.stride.push_back(static_cast<double>(stride));
  }
  model.description.task = "detect";
  model.description.entry = "ema_state_dict";
  model.graph = std::move(loaded.graph);
  return model;
}

graph::Graph open_teacher(const TrainOptions& options, const TrainModel& model) {
  const std::string& path = options.qat->teacher;
  if (path.empty()) return model.graph;
  LoadOptions load;
  load.image_height = load.image_width = options.image_size;
  LoadedModel teacher = load_model(path, load);
  const auto classes = static_cast<int64_t>(model.graph.metadata.names.size());
  if (teacher.kind == ModelKind::kOnnx || teacher.class_count() != classes) {
    fail_usage("{}: a teacher is a checkpoint with the {} classes of the data", path, classes);
  }
  return std::move(teacher.graph);
}

}  // namespace yoloquant::pipeline
