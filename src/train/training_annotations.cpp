#include "train/training_annotations.h"

#include <set>
#include <string>

#include "base/error.h"
#include "graph/passes.h"
#include "quant/activation_range.h"
#include "quant/calibrate.h"
#include "quant/nearest.h"

namespace yoloquant::train {

graph::Graph annotate_for_training(const graph::Graph& training,
                                   const quant::QuantizationConfig& config) {
  if (config.preset != quant::Preset::kNone) {
    fail_usage("the reference preset is for comparison and cannot be trained with");
  }
  graph::Graph graph = graph::for_inference(training, graph::Head::kBoth, graph::Branches::kKeep);
  quant::check_rules(config, graph::conv_names(graph));
  quant::annotate_weights(graph, config);
  const std::set<std::string> probabilities = quant::convs_after_softmax(graph);
  for (const std::string& conv : graph::conv_names(graph)) {
    const quant::LayerSettings settings = quant::settings_for(config, conv);
    if (!quant::quantizes_input(settings)) continue;
    const bool fixed = settings.activation_range == quant::RangeMethod::kFixed;
    quant::ActivationRange range{0, 1};
    if (fixed) range = {settings.activation_low, settings.activation_high};
    graph::Quantizer quantizer =
        quant::activation_quantizer(range, settings.activation_bits, settings.symmetric);
    if (!fixed && !probabilities.contains(conv)) {
      quantizer.scale.clear();
      quantizer.zero_point.clear();
    }
    graph.quantization[conv].input = quantizer;
  }
  return graph;
}

}  // namespace yoloquant::train
