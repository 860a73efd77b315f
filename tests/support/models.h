#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/passes.h"
#include "model/model.h"

// Models for the tests of layers above `model`.
namespace yoloquant::test {

// A built-in definition with formula weights, ready for export: "yolov10n", one head.
inline graph::Graph formula_graph(const std::string& name, graph::Head head, int64_t height = 64,
                                  int64_t width = 64,
                                  graph::Branches branches = graph::Branches::kMerge) {
  graph::Graph graph = model::build(model::load_definition(name + ".yaml"), height, width);
  model::set_formula_parameters(graph);
  return for_inference(graph, head, branches);
}

// Annotates every conv: weights with symmetric codes of `weight_bits` and a scale for each output
// channel (largest magnitude), inputs (if `inputs`) with 8 unsigned bits over [-1, 4].
inline void annotate(graph::Graph& graph, int weight_bits, bool inputs) {
  for (const std::string& name : conv_names(graph)) {
    const Tensor& weight = graph.parameter(name + ".weight");
    const auto values = weight.data<float>();
    const auto channels = static_cast<size_t>(weight.dim(0));
    graph::Quantizer quantizer{.bits = weight_bits,
                               .qmin = -(1 << (weight_bits - 1)),
                               .qmax = (1 << (weight_bits - 1)) - 1,
                               .axis = 0,
                               .scale = std::vector<float>(channels, 0.0F),
                               .zero_point = std::vector<int32_t>(channels, 0)};
    const size_t size = values.size() / channels;
    for (size_t i = 0; i < values.size(); ++i) {
      float& scale = quantizer.scale[i / size];
      scale = std::max(scale, std::abs(values[i]) / static_cast<float>(quantizer.qmax));
    }
    for (float& scale : quantizer.scale) scale = std::max(scale, 1e-6F);
    graph::ConvQuantization& annotation = graph.quantization[name];
    annotation.weight = quantizer;
    if (inputs) {
      annotation.input = graph::Quantizer{
          .bits = 8, .qmin = 0, .qmax = 255, .axis = -1, .scale = {5.0F / 255}, .zero_point = {51}};
    }
  }
}

}  // namespace yoloquant::test
