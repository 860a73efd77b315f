#include "pipeline/inference_graph.h"

#include "base/error.h"

namespace yoloquant::pipeline {
namespace {

using graph::Head;

// The graph with the wanted head as its only output. An ONNX file has one head already.
graph::Graph select_head(const LoadedModel& model, Head head, int64_t max_detections) {
  const std::string& present = model.graph.metadata.head;
  if (model.kind == ModelKind::kOnnx && !present.empty()) {
    if (head != Head::kBoth && present == graph::head_name(result_head(model, head))) {
      return model.graph;
    }
    const bool extends = present == "one2one" && head == Head::kEndToEnd;
    if (!extends) {
      fail_usage("{}: the file holds the {} head, not {}", model.path.string(), present,
                 graph::head_name(head));
    }
  }
  return graph::keep_head(model.graph, head, max_detections);
}

}  // namespace

graph::Head result_head(const LoadedModel& model, graph::Head wanted) {
  if (wanted == Head::kBoth) fail_usage("choose one head: one2many, one2one or end2end");
  const bool is_final = has_final_rows(model);
  return is_final && wanted == Head::kOneToMany ? Head::kEndToEnd : wanted;
}

graph::Head quantized_head(const LoadedModel& model, graph::Head wanted) {
  const graph::Head head = result_head(model, wanted);
  return head == graph::Head::kEndToEnd && !has_final_rows(model) ? graph::Head::kOneToOne : head;
}

bool has_final_rows(const LoadedModel& model) {
  return model.kind == ModelKind::kOnnx &&
         model.graph.metadata.head == graph::head_name(Head::kEndToEnd);
}

graph::Branches branches_of(onnx::Layout layout) {
  return layout == onnx::Layout::kDeploy ? graph::Branches::kMerge : graph::Branches::kKeep;
}

void set_shape(graph::Graph& graph, const InferenceShape& shape) {
  Shape wanted = graph.values.at(static_cast<size_t>(graph.inputs.at(0))).shape;
  if (wanted.size() != 4) fail("the model's input is no image batch [N, 3, H, W]");
  wanted[0] = shape.batch;
  if (shape.image_height > 0) wanted[2] = shape.image_height;
  if (shape.image_width > 0) wanted[3] = shape.image_width;
  graph::set_input_shape(graph, wanted);
}

graph::Graph inference_graph(const LoadedModel& model, Head head, graph::Branches branches,
                             const InferenceShape& shape, int64_t max_detections) {
  if (shape.batch < 1) fail_usage("the batch must be at least 1");
  if (max_detections < 1) fail_usage("the number of detections must be at least 1");
  // The head is chosen first, as for_inference would select 300 detections always.
  graph::Graph graph =
      graph::for_inference(select_head(model, head, max_detections), Head::kBoth, branches);
  set_shape(graph, shape);
  return graph;
}

}  // namespace yoloquant::pipeline
