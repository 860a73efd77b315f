#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "quant/quantize.h"

namespace yoloquant::quant {
namespace {

InputReport input_report(const graph::Quantizer& quantizer, const ActivationObserver* seen) {
  InputReport report;
  report.bits = quantizer.bits;
  report.scale = quantizer.scale.at(0);
  report.zero_point = quantizer.zero_point.at(0);
  report.low = static_cast<float>(quantizer.qmin - report.zero_point) * report.scale;
  report.high = static_cast<float>(quantizer.qmax - report.zero_point) * report.scale;
  if (seen != nullptr) {
    report.min = seen->min();
    report.max = seen->max();
  }
  return report;
}

void compare_weights(const Tensor& original, const Tensor& chosen,
                     const graph::Quantizer& quantizer, LayerReport& report) {
  const Tensor quantized = graph::dequantize(graph::quantize(chosen, quantizer), quantizer);
  const auto w = original.data<float>();
  const auto q = quantized.data<float>();
  if (w.size() != q.size()) fail("the float graph's weight has another shape");
  double signal = 0;
  double noise = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const double difference = static_cast<double>(w[i]) - q[i];
    signal += static_cast<double>(w[i]) * w[i];
    noise += difference * difference;
  }
  const auto [low, high] = std::ranges::minmax_element(quantizer.scale);
  report.bits = quantizer.bits;
  report.scale_min = *low;
  report.scale_max = *high;
  report.lossless = noise == 0;
  report.sqnr_db =
      noise == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal / noise);
}

}  // namespace

std::vector<LayerReport> report_layers(const graph::Graph& annotated, const graph::Graph& reference,
                                       const ActivationStatistics& seen) {
  std::vector<LayerReport> layers;
  for (const std::string& conv : graph::conv_names(annotated)) {
    LayerReport layer;
    layer.conv = conv;
    const Tensor& weight = annotated.parameter(conv + ".weight");
    layer.weights = weight.size();
    const auto entry = annotated.quantization.find(conv);
    if (entry != annotated.quantization.end() && entry->second.weight) {
      with_context(conv, [&] {
        compare_weights(reference.parameter(conv + ".weight"), weight, *entry->second.weight,
                        layer);
      });
    }
    if (entry != annotated.quantization.end() && entry->second.input) {
      const auto found = seen.find(conv);
      layer.input =
          input_report(*entry->second.input, found == seen.end() ? nullptr : &found->second);
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

double mean_weight_bits(const std::vector<LayerReport>& layers) {
  double bits = 0;
  double weights = 0;
  for (const LayerReport& layer : layers) {
    const auto count = static_cast<double>(layer.weights);
    weights += count;
    bits += count * (layer.bits == 0 ? 32 : layer.bits);
  }
  return weights == 0 ? 0 : bits / weights;
}

std::vector<std::vector<std::string>> layer_table(const std::vector<LayerReport>& layers) {
  std::vector<std::vector<std::string>> rows{{"conv", "weights", "bits", "scale", "SQNR dB",
                                              "input bits", "input seen", "input range",
                                              "zero point"}};
  for (const LayerReport& layer : layers) {
    std::vector<std::string> row{layer.conv, fmt::format("{}", layer.weights)};
    if (layer.bits == 0) {
      row.insert(row.end(), {"float", "-", "-"});
    } else {
      row.push_back(fmt::format("{}", layer.bits));
      row.push_back(layer.scale_min == layer.scale_max
                        ? fmt::format("{:.3g}", layer.scale_min)
                        : fmt::format("{:.3g}..{:.3g}", layer.scale_min, layer.scale_max));
      row.push_back(layer.lossless ? "exact" : fmt::format("{:.1f}", layer.sqnr_db));
    }
    if (const auto& input = layer.input) {
      row.push_back(fmt::format("{}", input->bits));
      row.push_back(fmt::format("{:.3g}..{:.3g}", input->min, input->max));
      row.push_back(fmt::format("{:.3g}..{:.3g}", input->low, input->high));
      row.push_back(fmt::format("{}", input->zero_point));
    } else {
      row.insert(row.end(), {"float", "-", "-", "-"});
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace yoloquant::quant
