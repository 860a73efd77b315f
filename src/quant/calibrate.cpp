#include "quant/calibrate.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "exec/executor.h"
#include "quant/activation_range.h"

namespace yoloquant::quant {
namespace {

// The convs whose input stands for every conv of a list: one for each distinct value.
struct Observation {
  std::vector<std::string> observed;                  // one conv per value
  std::map<std::string, std::string> representative;  // conv -> the observed one of its value
};

Observation plan(const graph::Graph& graph, const std::vector<std::string>& convs) {
  Observation plan;
  std::map<graph::ValueId, std::string> first;
  const std::set<std::string> wanted(convs.begin(), convs.end());
  for (const graph::Node& node : graph.nodes) {
    if (!wanted.contains(node.name)) continue;
    const auto [entry, is_new] = first.try_emplace(node.inputs.at(0), node.name);
    if (is_new) plan.observed.push_back(node.name);
    plan.representative[node.name] = entry->second;
  }
  for (const std::string& conv : convs) {
    if (!plan.representative.contains(conv)) fail("no conv '{}' in the graph", conv);
  }
  return plan;
}

// Shows each image of a batch to the observer, in whatever order its values lie in memory.
void observe(const at::Tensor& batch, ActivationObserver& observer, bool with_histogram) {
  for (int64_t i = 0; i < batch.size(0); ++i) {
    at::Tensor image = batch.select(0, i);
    if (!image.is_cpu() || image.scalar_type() != at::kFloat) {
      image = image.to(at::kCPU, at::kFloat);
    }
    // A part of a split: gathered with channels innermost, as the executor keeps them.
    if (!image.is_non_overlapping_and_dense() && image.dim() == 3) {
      image = image.unsqueeze(0).contiguous(at::MemoryFormat::ChannelsLast);
    }
    image = image.is_non_overlapping_and_dense() ? image : image.contiguous();
    observer.observe({image.const_data_ptr<float>(), static_cast<size_t>(image.numel())},
                     with_histogram);
  }
}

graph::Graph without_input_quantizers(const graph::Graph& graph) {
  graph::Graph copy = graph;
  for (auto& [name, annotation] : copy.quantization) annotation.input.reset();
  return copy;
}

}  // namespace

ActivationStatistics observe_activations(const graph::Graph& graph,
                                         const std::vector<std::string>& convs,
                                         CalibrationData& images, const CalibrationOptions& options,
                                         bool with_histograms, Progress& progress) {
  ActivationStatistics statistics;
  if (convs.empty()) return statistics;
  const int64_t count =
      options.max_images > 0 ? std::min(options.max_images, images.size()) : images.size();
  if (count == 0) fail("calibration needs at least one image");
  const Observation plan = quant::plan(graph, convs);
  std::map<std::string, ActivationObserver> observers;
  exec::Executor executor(without_input_quantizers(graph), {.device = options.device});
  executor.set_tap(
      [&](const graph::Node& node, const std::vector<at::Tensor>& inputs,
          const std::vector<at::Tensor>&) {
        with_context("input of " + node.name,
                     [&] { observe(inputs.at(0), observers[node.name], with_histograms); });
      },
      plan.observed);
  executor.set_stop_after_taps(true);
  int64_t done = 0;
  progress.start("calibrating activations", count);
  images.for_each_batch(0, count, std::max(options.batch, 1), [&](const Tensor& batch) {
    executor.run(std::vector<Tensor>{batch});
    done += batch.dim(0);
    progress.update(done);
  });
  progress.finish();
  for (const auto& [conv, representative] : plan.representative) {
    statistics[conv] = observers.at(representative);
  }
  return statistics;
}

graph::Quantizer input_quantizer(const ActivationObserver& observer,
                                 const LayerSettings& settings) {
  const int bits = settings.activation_bits;
  if (bits < kMinActivationBits || bits > kMaxActivationBits) {
    fail("{} activation bits: 4 to 8 are supported", bits);
  }
  ActivationRange range;
  switch (settings.activation_range) {
    case RangeMethod::kMinMax:
      range = minmax_range(observer);
      break;
    case RangeMethod::kPercentile:
      range = percentile_range(observer, settings.percentile);
      break;
    case RangeMethod::kMse:
      range = mse_range(observer, bits, settings.symmetric);
      break;
  }
  return activation_quantizer(range, bits, settings.symmetric);
}

ActivationStatistics calibrate_activations(graph::Graph& graph, const QuantizationConfig& config,
                                           CalibrationData& images,
                                           const CalibrationOptions& options, Progress& progress) {
  std::vector<std::string> convs;
  bool with_histograms = false;
  for (const std::string& conv : graph::conv_names(graph)) {
    const LayerSettings settings = settings_for(config, conv);
    if (settings.skip || settings.activation_bits == kFloatActivationBits) {
      const auto entry = graph.quantization.find(conv);
      if (entry != graph.quantization.end()) entry->second.input.reset();
      continue;
    }
    convs.push_back(conv);
    with_histograms = with_histograms || settings.activation_range != RangeMethod::kMinMax;
  }
  ActivationStatistics statistics =
      observe_activations(graph, convs, images, options, with_histograms, progress);
  for (const std::string& conv : convs) {
    graph.quantization[conv].input = with_context(
        conv, [&] { return input_quantizer(statistics.at(conv), settings_for(config, conv)); });
  }
  return statistics;
}

}  // namespace yoloquant::quant
