#include "pipeline/load_model.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "graph/passes.h"
#include "model/load.h"
#include "model/model.h"
#include "onnx/reader.h"
#include "pipeline/output_form.h"
#include "runtime/opaque.h"

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

const Shape& shape_of(const graph::Graph& graph, graph::ValueId id) {
  return graph.values.at(static_cast<size_t>(id)).shape;
}

OutputForm form_of(const graph::Graph& graph, graph::ValueId output) {
  return output_form(shape_of(graph, output), shape_of(graph, graph.inputs.at(0)));
}

// Exporters may add feature maps to the detections; only these are kept.
void keep_detections(LoadedModel& model) {
  graph::Graph& graph = model.graph;
  if (graph.outputs.size() > 1) {
    const auto is_other = [&](graph::ValueId id) {
      return form_of(graph, id) == OutputForm::kOther;
    };
    const auto kept = std::ranges::find_if_not(graph.outputs, is_other);
    if (kept == graph.outputs.end()) {
      fail("none of its {} outputs are detections", graph.outputs.size());
    }
    model.warnings.push_back(fmt::format("of {} outputs only '{}' is kept", graph.outputs.size(),
                                         graph.values.at(static_cast<size_t>(*kept)).name));
    graph.outputs = {*kept};
    graph = graph::remove_dead_code(graph);
  }
  const bool is_final = form_of(graph, graph.outputs.at(0)) == OutputForm::kEndToEnd;
  if (is_final && graph.metadata.head.empty()) {
    graph.metadata.head = graph::head_name(graph::Head::kEndToEnd);
  }
}

void check_size(const graph::Graph& graph, const LoadOptions& options) {
  const Shape& shape = shape_of(graph, graph.inputs.at(0));
  const auto differs = [](int64_t wanted, int64_t own) { return wanted > 0 && wanted != own; };
  if (differs(options.image_height, shape[2]) || differs(options.image_width, shape[3])) {
    fail_usage("the file's input is fixed at {} x {} pixels", shape[2], shape[3]);
  }
}

void describe_import(const std::string& path, const onnx::ReadReport& report, LoadedModel& model) {
  const Shape& input = shape_of(model.graph, model.graph.inputs.at(0));
  if (report.input_was_dynamic) {
    model.warnings.push_back(
        fmt::format("{}: its input has no fixed size: taken as {}", path, shape_string(input)));
  }
  if (report.opaque.empty()) return;
  std::string list;
  for (const auto& [op, count] : report.opaque) {
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", count, op);
  }
  model.warnings.push_back(fmt::format("{}: kept as they are, in float: {}", path, list));
}

LoadedModel load_onnx(const std::string& path, const LoadOptions& options) {
  LoadedModel model;
  onnx::ReadOptions read_options;
  if (options.image_height > 0 || options.image_width > 0) {
    read_options.input_shape = Shape{1, 3, extent_or_default(options.image_height),
                                     extent_or_default(options.image_width)};
  }
  read_options.compile = runtime::opaque_function;
  onnx::ReadReport report;
  model.graph = onnx::read(path, read_options, &report);
  with_context(path, [&] {
    keep_detections(model);
    check_size(model.graph, options);
  });
  describe_import(path, report, model);
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
    const OutputForm form = form_of(graph, graph.outputs[0]);
    const int64_t count = class_count_of(form, shape_of(graph, graph.outputs[0]));
    if (count > 0) return count;
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
