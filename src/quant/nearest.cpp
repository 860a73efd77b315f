#include "quant/nearest.h"

#include "base/error.h"
#include "quant/weight_scale.h"

namespace yoloquant::quant {

void annotate_weights(graph::Graph& graph, const QuantizationConfig& config, int threads) {
  for (const std::string& conv : graph::conv_names(graph)) {
    const LayerSettings settings = settings_for(config, conv);
    if (settings.skip) {
      graph.quantization.erase(conv);
      continue;
    }
    const WeightScaleOptions options{.bits = settings.weight_bits,
                                     .narrow_range = settings.narrow_range,
                                     .granularity = settings.granularity,
                                     .method = settings.weight_scale,
                                     .norm = settings.weight_norm,
                                     .threads = threads};
    graph.quantization[conv].weight = with_context(
        conv, [&] { return choose_weight_quantizer(graph.parameter(conv + ".weight"), options); });
  }
}

void Nearest::apply(graph::Graph& annotated, const MethodContext& context) {
  annotate_weights(annotated, context.config);
}

}  // namespace yoloquant::quant
