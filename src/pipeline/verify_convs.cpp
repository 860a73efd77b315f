#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "exec/executor.h"
#include "onnx/edit.h"
#include "pipeline/verify.h"
#include "runtime/session.h"

namespace yoloquant::pipeline {
namespace {

// Bytes of conv inputs and outputs that are held at a time, about: each portion is another run of
// the model.
constexpr int64_t kPortionBytes = int64_t{64} << 20;

const std::string& value_name(const graph::Graph& graph, graph::ValueId id) {
  return graph.values.at(static_cast<size_t>(id)).name;
}

// A graph of just this conv, for inputs of this shape.
graph::Graph alone(const graph::Graph& graph, const graph::Node& node, const Shape& input_shape) {
  graph::Graph single;
  const graph::ValueId input = single.add_value("input");
  single.values[static_cast<size_t>(input)].shape = input_shape;
  single.inputs = {input};
  single.outputs = {single.add_node(node.name, node.op, {input})};
  for (const char* part : {".weight", ".bias"}) {
    const auto found = graph.parameters.find(node.name + part);
    if (found != graph.parameters.end()) single.parameters.insert(*found);
  }
  single.quantization.insert(*graph.quantization.find(node.name));
  const auto quantizer = graph.value_quantization.find(value_name(graph, node.inputs.at(0)));
  if (quantizer != graph.value_quantization.end()) {
    single.value_quantization["input"] = quantizer->second;
  }
  graph::infer_shapes(single);
  return single;
}

double relative_difference(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return INFINITY;
  double squares = 0;
  double scale = 0;
  const auto left = a.data<float>();
  const auto right = b.data<float>();
  for (size_t i = 0; i < left.size(); ++i) {
    const double difference = static_cast<double>(left[i]) - right[i];
    squares += difference * difference;
    scale += static_cast<double>(right[i]) * right[i];
  }
  return squares == 0 ? 0 : std::sqrt(squares / std::max(scale, 1e-30));
}

// Values of the model for `image`, by name.
std::map<std::string, Tensor> values_of(const std::string& model, std::vector<std::string> names,
                                        const Tensor& image, int threads) {
  std::ranges::sort(names);
  const auto duplicates = std::ranges::unique(names);
  names.erase(duplicates.begin(), duplicates.end());
  auto session = runtime::Session::from_bytes(
      onnx::with_outputs(model, names),
      {.provider = runtime::Provider::kCpu, .threads = threads, .graph_optimization = false});
  std::vector<Tensor> tensors = session.run({image});
  std::map<std::string, Tensor> values;
  for (size_t i = 0; i < names.size(); ++i) values[names[i]] = std::move(tensors.at(i));
  return values;
}

}  // namespace

ConvDifference compare_convs(const graph::Graph& annotated, const std::filesystem::path& file,
                             const Tensor& image, const VerifyOptions& options) {
  std::vector<const graph::Node*> convs;
  for (const graph::Node& node : annotated.nodes) {
    if (annotated.quantization.contains(node.name)) convs.push_back(&node);
  }
  const std::string model = read_file(file);
  const std::string& input_name = value_name(annotated, annotated.inputs.at(0));
  ConvDifference result;
  for (size_t start = 0; start < convs.size();) {
    std::vector<std::string> names;
    size_t end = start;
    for (int64_t bytes = 0; end < convs.size() && bytes < kPortionBytes; ++end) {
      for (const graph::ValueId id : {convs[end]->inputs.at(0), convs[end]->outputs.at(0)}) {
        if (value_name(annotated, id) != input_name) names.push_back(value_name(annotated, id));
        bytes += 4 * element_count(annotated.values.at(static_cast<size_t>(id)).shape);
      }
    }
    std::map<std::string, Tensor> values = values_of(model, names, image, options.threads);
    values[input_name] = image;
    for (; start < end; ++start) {
      const graph::Node& conv = *convs[start];
      const Tensor& input = values.at(value_name(annotated, conv.inputs[0]));
      exec::Executor simulator(alone(annotated, conv, input.shape()), {.device = options.device});
      const double difference =
          relative_difference(values.at(value_name(annotated, conv.outputs[0])),
                              simulator.run(std::vector<Tensor>{input}).at(0));
      ++result.convs;
      if (!(difference <= result.worst)) {
        result.worst = difference;
        result.name = conv.name;
      }
    }
  }
  return result;
}

}  // namespace yoloquant::pipeline
