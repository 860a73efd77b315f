#include "quant/calibrate.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/error.h"
#include "exec/executor.h"
#include "quant/activation_range.h"
#include "quant/worker_pool.h"

namespace yoloquant::quant {
namespace {

// Rare large activations are what detections are made of, and 8 bits can afford them: clipping
// beyond this share of the extremes lowers the mean error and harms the detections.
constexpr double kLeastShare = 0.7;
constexpr int kBitsForWideRanges = 7;

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

bool moves_only(const graph::Node& node) {
  return std::holds_alternative<graph::Transpose>(node.op) ||
         std::holds_alternative<graph::Reshape>(node.op);
}

// What is observed at a node: its first input, or one of its outputs.
struct Place {
  std::string key;  // of the statistics
  int output = -1;  // -1: the input
};
using Places = std::multimap<std::string, Place>;  // by node

graph::Graph without_input_quantizers(const graph::Graph& graph) {
  graph::Graph copy = graph;
  for (auto& [name, annotation] : copy.quantization) annotation.input.reset();
  copy.value_quantization.clear();
  return copy;
}

// Executors with taps, one a worker. On a CPU each runs on its share of the threads.
class Observers {
 public:
  Observers(const graph::Graph& graph, const Places& places, const CalibrationOptions& options,
            bool with_histograms)
      : graph_(graph),
        places_(places),
        device_(exec::Executor(graph::Graph(), {.device = options.device}).device()),
        with_histograms_(with_histograms),
        all_threads_(at::get_num_threads()) {
    const bool cpu = device_ == "cpu";
    const int wanted = options.workers > 0 ? options.workers : std::min(all_threads_, 4);
    workers_.resize(cpu ? static_cast<size_t>(wanted) : 1);
    threads_ = cpu ? std::max(all_threads_ / wanted, 1) : all_threads_;
  }
  // Workers' settings leak into LibTorch's default for threads that start later.
  ~Observers() { at::set_num_threads(all_threads_); }
  Observers(const Observers&) = delete;
  Observers& operator=(const Observers&) = delete;

  size_t count() const { return workers_.size(); }

  // Called on the worker's own thread, which also makes its executor: with more threads already at
  // that time, the idle ones would spin.
  void run(size_t index, const Tensor& batch) {
    if (at::get_num_threads() != threads_) at::set_num_threads(threads_);
    Worker& worker = workers_[index];
    if (!worker.executor) start(worker);
    worker.executor->run(std::vector<Tensor>{batch});
  }

  ActivationStatistics merged() const {
    ActivationStatistics result;
    for (const Worker& worker : workers_) {
      for (const auto& [key, observer] : worker.seen) result[key].merge(observer);
    }
    return result;
  }

 private:
  struct Worker {
    std::unique_ptr<exec::Executor> executor;
    ActivationStatistics seen;
  };

  void start(Worker& worker) const {
    worker.executor =
        std::make_unique<exec::Executor>(graph_, exec::ExecutorOptions{.device = device_});
    std::vector<std::string> nodes;
    for (const auto& [node, place] : places_) nodes.push_back(node);
    worker.executor->set_tap(
        [&worker, this](const graph::Node& node, const std::vector<at::Tensor>& inputs,
                        const std::vector<at::Tensor>& outputs) {
          const auto [first, last] = places_.equal_range(node.name);
          for (auto entry = first; entry != last; ++entry) {
            const Place& place = entry->second;
            const bool is_input = place.output < 0;
            with_context((is_input ? "input of " : "output of ") + node.name, [&] {
              observe(is_input ? inputs.at(0) : outputs.at(static_cast<size_t>(place.output)),
                      worker.seen[place.key], with_histograms_);
            });
          }
        },
        nodes);
    worker.executor->set_stop_after_taps(true);
  }

  const graph::Graph& graph_;
  const Places& places_;
  std::string device_;
  bool with_histograms_;
  int all_threads_;
  int threads_ = 1;  // a worker
  std::vector<Worker> workers_;
};

ActivationStatistics observe_places(const graph::Graph& graph, const Places& places,
                                    CalibrationData& images, const CalibrationOptions& options,
                                    bool with_histograms, Progress& progress) {
  const int64_t rest = images.size() - options.first_image;
  const int64_t count = options.max_images > 0 ? std::min(options.max_images, rest) : rest;
  if (count <= 0) fail("calibration needs at least one image");
  const graph::Graph observed = without_input_quantizers(graph);
  Observers observers(observed, places, options, with_histograms);
  int64_t done = 0;
  progress.start("calibrating activations", count);
  {
    WorkerPool<Tensor> pool(observers.count(), [&](size_t worker, const Tensor& batch) {
      observers.run(worker, batch);
    });
    images.for_each_batch(options.first_image, options.first_image + count,
                          std::max(options.batch, 1), [&](const Tensor& batch) {
                            pool.put(batch);
                            done += batch.dim(0);
                            progress.update(done);
                          });
    pool.finish();
  }
  progress.finish();
  return observers.merged();
}

}  // namespace

std::set<std::string> convs_after_softmax(const graph::Graph& graph) {
  const auto producers = graph.producers();
  std::set<std::string> result;
  for (const graph::Node& node : graph.nodes) {
    if (!std::holds_alternative<graph::Conv>(node.op)) continue;
    int producer = producers[node.inputs.at(0)];
    while (producer >= 0 && moves_only(graph.nodes[producer])) {
      producer = producers[graph.nodes[producer].inputs.at(0)];
    }
    if (producer >= 0 && std::holds_alternative<graph::Softmax>(graph.nodes[producer].op)) {
      result.insert(node.name);
    }
  }
  return result;
}

ActivationStatistics observe_activations(const graph::Graph& graph,
                                         const std::vector<std::string>& convs,
                                         CalibrationData& images, const CalibrationOptions& options,
                                         bool with_histograms, Progress& progress) {
  ActivationStatistics statistics;
  if (convs.empty()) return statistics;
  const Observation plan = quant::plan(graph, convs);
  Places places;
  for (const std::string& conv : plan.observed) places.emplace(conv, Place{.key = conv});
  const ActivationStatistics merged =
      observe_places(graph, places, images, options, with_histograms, progress);
  for (const auto& [conv, representative] : plan.representative) {
    statistics[conv] = merged.at(representative);
  }
  return statistics;
}

ActivationStatistics observe_values(const graph::Graph& graph,
                                    const std::vector<std::string>& values, CalibrationData& images,
                                    const CalibrationOptions& options, bool with_histograms,
                                    Progress& progress) {
  if (values.empty()) return {};
  const std::set<std::string> wanted(values.begin(), values.end());
  Places places;
  for (const graph::Node& node : graph.nodes) {
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const std::string& name = graph.values[static_cast<size_t>(node.outputs[i])].name;
      if (wanted.contains(name)) places.emplace(node.name, Place{name, static_cast<int>(i)});
    }
  }
  if (places.size() != wanted.size()) fail("a value to observe is made by no node");
  return observe_places(graph, places, images, options, with_histograms, progress);
}

namespace {

// Of settings that leave it to be chosen, where there is nothing to choose by: few bits must clip.
RangeMethod fallback(int bits) {
  return bits >= kBitsForWideRanges ? RangeMethod::kMeanMinMax : RangeMethod::kMse;
}

RangeMethod method_of(const LayerSettings& settings) {
  return settings.activation_range == RangeMethod::kChosen ? fallback(settings.activation_bits)
                                                           : settings.activation_range;
}

}  // namespace

bool needs_histogram(const LayerSettings& settings) {
  const RangeMethod method = method_of(settings);
  return method == RangeMethod::kPercentile || method == RangeMethod::kMse;
}

ActivationRange activation_range(const ActivationObserver& observer,
                                 const LayerSettings& settings) {
  const int bits = settings.activation_bits;
  if (bits < kMinActivationBits || bits > kMaxActivationBits) {
    fail("{} activation bits: 4 to 8 are supported", bits);
  }
  switch (method_of(settings)) {
    case RangeMethod::kMinMax:
      return minmax_range(observer);
    case RangeMethod::kMeanMinMax:
      return mean_minmax_range(observer);
    case RangeMethod::kPercentile:
      return percentile_range(observer, settings.percentile);
    case RangeMethod::kMse:
      return mse_range(observer, bits, settings.symmetric,
                       {settings.activation_norm, bits >= kBitsForWideRanges ? kLeastShare : 0.0});
    case RangeMethod::kFixed:
      return {settings.activation_low, settings.activation_high};
    case RangeMethod::kChosen:
      break;
  }
  fail("unknown range method");
}

graph::Quantizer input_quantizer(const ActivationObserver& observer,
                                 const LayerSettings& settings) {
  return activation_quantizer(activation_range(observer, settings), settings.activation_bits,
                              settings.symmetric);
}

bool quantizes_input(const LayerSettings& settings) {
  return !settings.skip && settings.activation_bits != kFloatActivationBits;
}

namespace {

// Settings of every conv of the graph.
std::map<std::string, LayerSettings> input_settings(const graph::Graph& graph,
                                                    const QuantizationConfig& config) {
  const std::set<std::string> probabilities = convs_after_softmax(graph);
  std::map<std::string, LayerSettings> result;
  for (const std::string& conv : graph::conv_names(graph)) {
    LayerSettings settings = settings_for(config, conv);
    if (probabilities.contains(conv)) settings.activation_range = RangeMethod::kMinMax;
    result.emplace(conv, settings);
  }
  return result;
}

}  // namespace

void annotate_inputs(graph::Graph& graph, const QuantizationConfig& config,
                     const ActivationStatistics& statistics) {
  for (const auto& [conv, settings] : input_settings(graph, config)) {
    if (quantizes_input(settings)) {
      graph.quantization[conv].input =
          with_context(conv, [&] { return input_quantizer(statistics.at(conv), settings); });
      continue;
    }
    const auto entry = graph.quantization.find(conv);
    if (entry != graph.quantization.end()) entry->second.input.reset();
  }
}

ActivationStatistics calibrate_activations(graph::Graph& graph, const QuantizationConfig& config,
                                           CalibrationData& images,
                                           const CalibrationOptions& options, Progress& progress) {
  const std::map<std::string, LayerSettings> settings = input_settings(graph, config);
  std::vector<std::string> convs;
  bool with_histograms = false;
  for (const std::string& conv : graph::conv_names(graph)) {
    const LayerSettings& own = settings.at(conv);
    if (!quantizes_input(own)) continue;
    convs.push_back(conv);
    with_histograms = with_histograms || needs_histogram(own);
  }
  ActivationStatistics statistics =
      observe_activations(graph, convs, images, options, with_histograms, progress);
  annotate_inputs(graph, config, statistics);
  return statistics;
}

}  // namespace yoloquant::quant
