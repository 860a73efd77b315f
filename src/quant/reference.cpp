#include "quant/reference.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <variant>

#include "base/error.h"

namespace yoloquant::quant {
namespace {

// Narrow signed codes, one scale for the tensor, whatever the weights are: no exception for DFL.
graph::Quantizer per_tensor_absmax(const Tensor& weight, int bits) {
  float largest = 0;
  for (const float w : weight.data<float>()) {
    if (!std::isfinite(w)) fail("a weight is {}", w);
    largest = std::max(largest, std::abs(w));
  }
  graph::Quantizer quantizer;
  quantizer.bits = bits;
  quantizer.qmax = (1 << (bits - 1)) - 1;
  quantizer.qmin = -quantizer.qmax;
  quantizer.scale = {largest < 1e-30F ? 1.0F : largest / static_cast<float>(quantizer.qmax)};
  quantizer.zero_point = {0};
  return quantizer;
}

// gamma / sqrt(var + eps) by conv name, for the batch norms that `folded` no longer has.
std::map<std::string, std::vector<double>> fold_factors(const graph::Graph& graph,
                                                        const graph::Graph& folded) {
  std::map<std::string, std::vector<double>> factors;
  const auto producers = graph.producers();
  for (const graph::Node& node : graph.nodes) {
    const auto* norm = std::get_if<graph::BatchNorm>(&node.op);
    if (norm == nullptr || folded.find_node(node.name) != nullptr) continue;
    const auto gamma = graph.parameter(node.name + ".weight").data<float>();
    const auto variance = graph.parameter(node.name + ".running_var").data<float>();
    std::vector<double>& factor = factors[graph.nodes[producers[node.inputs.at(0)]].name];
    for (size_t i = 0; i < gamma.size(); ++i) {
      factor.push_back(gamma[i] / std::sqrt(static_cast<double>(variance[i]) + norm->eps));
    }
  }
  return factors;
}

// The grid on which `quantizer`'s values lie after output channel i is multiplied by factors[i].
graph::Quantizer after_folding(const graph::Quantizer& quantizer,
                               const std::vector<double>& factors) {
  graph::Quantizer result = quantizer;
  result.axis = 0;
  result.scale.clear();
  for (const double factor : factors) {
    const auto scale = static_cast<float>(quantizer.scale[0] * std::abs(factor));
    result.scale.push_back(scale < 1e-30F ? 1.0F : scale);
  }
  result.zero_point.assign(factors.size(), 0);
  return result;
}

}  // namespace

QuantizationConfig reference_config(const Scheme& scheme) {
  QuantizationConfig config;
  config.scheme = scheme;
  config.preset = Preset::kReference;
  config.defaults.granularity = Granularity::kPerTensor;
  config.defaults.weight_scale = WeightScaleMethod::kAbsMax;
  config.defaults.narrow_range = true;
  config.defaults.symmetric = true;
  config.defaults.activation_range = RangeMethod::kMinMax;
  return config;
}

graph::Graph reference_weights(const graph::Graph& model, graph::Head head, const Scheme& scheme) {
  graph::Graph graph = graph::keep_head(model, head);
  std::map<std::string, graph::Quantizer> grids;
  for (const std::string& conv : graph::conv_names(graph)) {
    Tensor& weight = graph.parameters.at(conv + ".weight");
    const graph::Quantizer& grid = grids[conv] =
        with_context(conv, [&] { return per_tensor_absmax(weight, scheme.weight_bits); });
    weight = graph::dequantize(graph::quantize(weight, grid), grid);
  }
  const graph::Graph folded = graph::fold_batch_norm(graph);
  for (const auto& [conv, factors] : fold_factors(graph, folded)) {
    grids[conv] = after_folding(grids[conv], factors);
  }
  graph = graph::remove_dead_code(folded);
  for (const std::string& conv : graph::conv_names(graph)) {
    graph.quantization[conv].weight = grids.at(conv);
  }
  graph::check(graph);
  return graph;
}

}  // namespace yoloquant::quant
