#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/onnx_report.h"
#include "graph/passes.h"
#include "model/model.h"
#include "pipeline/load_model.h"

namespace yoloquant::cli {

namespace {

struct InfoArguments : ModelArguments {
  void declare(Options& o) {
    o.section("Arguments");
    declare_model(o);
    o.section("Model");
    declare_size(o);
    declare_seed(o);
  }
};

// Multiply-accumulates of the convs and matrix products at the graph's input shape.
int64_t multiply_accumulates(const graph::Graph& graph) {
  int64_t total = 0;
  for (const graph::Node& node : graph.nodes) {
    const auto output = element_count(graph.values.at(static_cast<size_t>(node.outputs[0])).shape);
    if (std::holds_alternative<graph::Conv>(node.op)) {
      const Tensor& weight = graph.parameter(node.name + ".weight");
      total += output * (weight.size() / weight.dim(0));
    } else if (std::holds_alternative<graph::MatMul>(node.op)) {
      const Shape& left = graph.values.at(static_cast<size_t>(node.inputs[0])).shape;
      total += output * left.back();
    }
  }
  return total;
}

double gflops(const graph::Graph& graph) {
  return 2e-9 * static_cast<double>(multiply_accumulates(graph));
}

// Convs with a weight of their own: both heads share the DFL projection.
int64_t conv_count(const graph::Graph& graph) {
  int64_t count = 0;
  for (const auto& [name, tensor] : model::state_dict(graph)) count += tensor.rank() == 4 ? 1 : 0;
  return count;
}

nlohmann::ordered_json head_json(const graph::Graph& model, graph::Head head) {
  const graph::Graph inference = graph::for_inference(model, head, graph::Branches::kKeep);
  int64_t weights = 0;
  for (const auto& [name, tensor] : inference.parameters) weights += tensor.size();
  return {{"convs", graph::conv_names(inference).size()},
          {"parameters", weights},
          {"gflops", gflops(graph::for_inference(model, head))}};
}

nlohmann::ordered_json model_json(const pipeline::LoadedModel& model) {
  const graph::Graph& graph = model.graph;
  const Shape& input = graph.values.at(static_cast<size_t>(graph.inputs.at(0))).shape;
  nlohmann::ordered_json json = {{"name", model.name},
                                 {"kind", pipeline::model_kind_name(model.kind)},
                                 {"parameters", model::parameter_count(graph)},
                                 {"layers", graph.nodes.size()},
                                 {"convs", conv_count(graph)},
                                 {"classes", model.class_count()},
                                 {"strides", graph.metadata.strides},
                                 {"imgsz", {input.at(2), input.at(3)}},
                                 {"gflops", gflops(graph)},
                                 {"trained", model.trained},
                                 {"sha256", model.sha256}};
  for (const graph::Head head : {graph::Head::kOneToMany, graph::Head::kOneToOne}) {
    json["heads"][std::string(graph::head_name(head))] = head_json(graph, head);
  }
  for (const auto& [id, name] : graph.metadata.names) json["names"][std::to_string(id)] = name;
  if (model.checkpoint) {
    json["checkpoint"] = {{"source", checkpoint::source_name(model.checkpoint->source)},
                          {"entry", model.checkpoint->entry},
                          {"date", model.checkpoint->date},
                          {"version", model.checkpoint->version}};
    if (model.checkpoint->epoch) json["checkpoint"]["epoch"] = *model.checkpoint->epoch;
  }
  return json;
}

std::string model_text(const pipeline::LoadedModel& model, const nlohmann::ordered_json& json) {
  std::string strides;
  for (const int64_t stride : model.graph.metadata.strides) {
    strides += (strides.empty() ? "" : ", ") + std::to_string(stride);
  }
  std::string text = fmt::format("{} ({}{})\n", model.name, pipeline::model_kind_name(model.kind),
                                 model.trained ? "" : ", weights not trained");
  text += fmt::format("parameters  {}\nlayers      {} ({} convs)\nclasses     {}\nstrides     {}\n",
                      json["parameters"].get<int64_t>(), json["layers"].get<int64_t>(),
                      json["convs"].get<int64_t>(), json["classes"].get<int64_t>(), strides);
  text +=
      fmt::format("compute     {:.2f} GFLOPs at {}x{}, both heads\n", json["gflops"].get<double>(),
                  json["imgsz"][0].get<int64_t>(), json["imgsz"][1].get<int64_t>());
  for (const auto& [head, figures] : json["heads"].items()) {
    text += fmt::format("{:<11} {:.2f} GFLOPs, {} convs, {} parameters\n", head,
                        figures["gflops"].get<double>(), figures["convs"].get<int64_t>(),
                        figures["parameters"].get<int64_t>());
  }
  if (!json.contains("checkpoint")) return text;
  const auto& checkpoint = json["checkpoint"];
  text += fmt::format("checkpoint  {}", checkpoint["source"].get<std::string>());
  for (const char* key : {"entry", "version", "date"}) {
    const auto value = checkpoint[key].get<std::string>();
    if (!value.empty()) text += fmt::format(", {} {}", key, value);
  }
  return text + '\n';
}

int run_info(const InfoArguments& arguments, Context& context) {
  arguments.check_model();
  if (pipeline::model_kind(arguments.model) == pipeline::ModelKind::kOnnx) {
    const onnx::CheckReport report = onnx::check(arguments.model);
    context.result(onnx::to_json(report), onnx_report_text(arguments.model, report));
    return 0;
  }
  const pipeline::LoadedModel model = load(arguments, context);
  const nlohmann::ordered_json json = model_json(model);
  context.result(json, model_text(model, json));
  return 0;
}

}  // namespace

Command info_command() {
  CommandInfo info;
  info.name = "info";
  info.summary = "describe a model";
  info.details =
      "Describes a model: parameters, layers, heads, strides, classes and compute (two operations "
      "per multiply-accumulate of convs and matrix products). Of an ONNX file: operators, inputs "
      "and "
      "outputs.";
  info.examples = {{"A built-in definition", "yoloquant info yolov10m.yaml --imgsz 640"}};
  return define<InfoArguments>(std::move(info), run_info);
}

}  // namespace yoloquant::cli
