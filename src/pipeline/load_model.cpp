#include "pipeline/load_model.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "model/load.h"
#include "model/model.h"
#include "onnx/reader.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kDefaultExtent = 640;

int64_t extent_or_default(int64_t extent) { return extent > 0 ? extent : kDefaultExtent; }

LoadedModel load_checkpoint(const std::string& path, const LoadOptions& options) {
  LoadedModel model;
  checkpoint::ReadOptions read_options;
  read_options.optimizer = false;
  checkpoint::Checkpoint checkpoint = checkpoint::read(path, read_options);
  const std::string stem = fs::path(path).stem().string();
  with_context(path, [&] {
    model.definition = model::definition_of(checkpoint, stem);
    model.graph = model::from_checkpoint(checkpoint, stem, extent_or_default(options.image_height),
                                         extent_or_default(options.image_width));
  });
  checkpoint.state.clear();
  checkpoint.raw_state.clear();
  model.checkpoint = std::move(checkpoint);
  return model;
}

LoadedModel load_definition(const std::string& path, const LoadOptions& options) {
  LoadedModel model;
  model.definition = model::load_definition(path, options.class_count);
  model.graph = model::build(*model.definition, extent_or_default(options.image_height),
                             extent_or_default(options.image_width));
  model.trained = false;
  if (options.seed) {
    model::initialize(model.graph, *options.seed);
    model.warnings.push_back(
        fmt::format("{}: random weights (seed {}): accuracy means nothing", path, *options.seed));
  } else {
    model::set_formula_parameters(model.graph);
    model.warnings.push_back(path + ": formula weights, not trained: accuracy means nothing");
  }
  return model;
}

LoadedModel load_onnx(const std::string& path, const LoadOptions& options) {
  LoadedModel model;
  onnx::ReadOptions read_options;
  if (options.image_height > 0 || options.image_width > 0) {
    read_options.input_shape = Shape{1, 3, extent_or_default(options.image_height),
                                     extent_or_default(options.image_width)};
  }
  model.graph = onnx::read(path, read_options);
  return model;
}

}  // namespace

std::string_view model_kind_name(ModelKind kind) {
  switch (kind) {
    case ModelKind::kCheckpoint:
      return "checkpoint";
    case ModelKind::kDefinition:
      return "definition";
    case ModelKind::kOnnx:
      return "ONNX";
  }
  return "?";
}

ModelKind model_kind(const std::string& model) {
  const std::string extension = lower(fs::path(model).extension().string());
  if (extension == ".onnx") return ModelKind::kOnnx;
  if (extension == ".yaml" || extension == ".yml") return ModelKind::kDefinition;
  return ModelKind::kCheckpoint;
}

int64_t LoadedModel::class_count() const {
  if (definition) return definition->class_count;
  if (!graph.outputs.empty()) {
    const Shape& shape = graph.values.at(static_cast<size_t>(graph.outputs[0])).shape;
    if (shape.size() == 3 && shape[2] != 6 && shape[1] > 4) return shape[1] - 4;
  }
  return static_cast<int64_t>(graph.metadata.names.size());
}

LoadedModel load_model(const std::string& path, const LoadOptions& options) {
  if (path.empty()) fail_usage("no model given");
  const ModelKind kind = model_kind(path);
  if (kind != ModelKind::kDefinition && options.class_count > 0) {
    fail_usage("{}: the class count can only be set for a definition", path);
  }
  LoadedModel model;
  switch (kind) {
    case ModelKind::kCheckpoint:
      model = load_checkpoint(path, options);
      break;
    case ModelKind::kDefinition:
      model = load_definition(path, options);
      break;
    case ModelKind::kOnnx:
      model = load_onnx(path, options);
      break;
  }
  model.kind = kind;
  model.name = fs::path(path).stem().string();
  if (fs::exists(path)) {
    model.path = path;
    model.sha256 = sha256_of_file(path);
  } else {
    model.sha256 = sha256(model.definition->yaml);
  }
  return model;
}

}  // namespace yoloquant::pipeline
