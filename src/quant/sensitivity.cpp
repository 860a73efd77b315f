#include "quant/sensitivity.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "exec/convert.h"
#include "exec/executor.h"
#include "quant/gptq.h"
#include "quant/nearest.h"
#include "quant/range_choice.h"

namespace yoloquant::quant {
namespace {

// The graph with everything annotated, and rounded if it is not to be to nearest; by bits.
using Annotated = std::map<int, graph::Graph>;

// Every layer at these bits, whatever the rules say of bits.
QuantizationConfig with_bits(QuantizationConfig config, Part part, int bits) {
  LayerOverrides overrides;
  (part == Part::kWeights ? overrides.weight_bits : overrides.activation_bits) = bits;
  config.rules.push_back({"*", overrides});
  return config;
}

// Its weight and bias in the graph.
TensorMap parameters_of(const std::string& conv, const graph::Graph& graph) {
  TensorMap parameters;
  for (const char* part : {".weight", ".bias"}) {
    const auto found = graph.parameters.find(conv + part);
    if (found != graph.parameters.end()) parameters.insert(*found);
  }
  return parameters;
}

// Convs and blocks for one part.
class VariantList {
 public:
  VariantList(const graph::Graph& graph, const QuantizationConfig& config) : graph_(graph) {
    for (const std::string& conv : graph::conv_names(graph)) {
      if (!settings_for(config, conv).skip) convs_.push_back(conv);
    }
    if (convs_.empty()) fail_usage("every conv is skipped");
  }

  // `own_parameters`: convs that change get the parameters of the graph that their annotation is
  // of.
  void add_convs(Part part, const Annotated& by_bits, bool own_parameters = false) {
    for (const std::string& conv : convs_) {
      add(conv, false, {conv}, part, by_bits, own_parameters);
    }
  }
  void add_blocks(Part part, const Annotated& by_bits, bool own_parameters = false) {
    for (const auto& [path, convs] : conv_blocks(convs_)) {
      add(path, true, convs, part, by_bits, own_parameters);
    }
  }

  const std::vector<std::string>& convs() const { return convs_; }
  std::vector<Variant> take() { return std::move(variants_); }

 private:
  void add(const std::string& name, bool block, const std::vector<std::string>& convs, Part part,
           const Annotated& by_bits, bool own_parameters) {
    for (const auto& [bits, graph] : by_bits) {
      Variant variant;
      variant.name = name;
      variant.block = block;
      variant.part = part;
      variant.bits = bits;
      for (const std::string& conv : convs) {
        const auto found = graph.quantization.find(conv);
        if (found == graph.quantization.end()) continue;
        variant.changes.insert(*found);
        variant.weights += graph_.parameter(conv + ".weight").size();
        if (own_parameters) variant.parameters.merge(parameters_of(conv, graph));
      }
      if (!variant.changes.empty()) variants_.push_back(std::move(variant));
    }
  }

  const graph::Graph& graph_;
  std::vector<std::string> convs_;
  std::vector<Variant> variants_;
};

Annotated weights_by_bits(const graph::Graph& inference, const QuantizationConfig& config,
                          const std::vector<int>& bits, Progress& progress) {
  Annotated result;
  progress.start("choosing weight scales", static_cast<int64_t>(bits.size()));
  for (const int b : bits) {
    if (!valid_weight_bits(b)) {
      fail_usage("{} weight bits: {} to {} are supported", b, kMinWeightBits, kMaxWeightBits);
    }
    graph::Graph& annotated = result.emplace(b, inference).first->second;
    annotate_weights(annotated, with_bits(config, Part::kWeights, b));
    progress.update(static_cast<int64_t>(result.size()));
  }
  progress.finish();
  return result;
}

Annotated inputs_by_bits(const graph::Graph& inference, const QuantizationConfig& config,
                         const std::vector<int>& bits, CalibrationData& images,
                         const RangeChoiceOptions& options, Progress& progress) {
  Annotated result;
  for (const int b : bits) {
    if (b < kMinActivationBits || b > kMaxActivationBits) {
      fail_usage("{} activation bits: {} to {} are supported", b, kMinActivationBits,
                 kMaxActivationBits);
    }
  }
  for (const int b : bits) {
    graph::Graph annotated = inference;
    const QuantizationConfig wanted = with_bits(config, Part::kActivations, b);
    const ConvRanges ranges = choose_conv_ranges(inference, wanted, images, options, progress);
    if (ranges.seen.empty()) {
      calibrate_activations(annotated, wanted, images, options.calibration, progress);
    } else {
      annotate_inputs(annotated, ranges.config, ranges.seen);
    }
    result.emplace(b, std::move(annotated));
  }
  return result;
}

// The graph in an executor, with one variant at a time applied to it.
class Subject {
 public:
  Subject(const graph::Graph& base, const std::string& device)
      : base_(base), executor_(base, {.device = device}) {}

  exec::Executor& executor() { return executor_; }

  void apply(const Variant& variant) {
    for (const auto& [conv, quantization] : variant.changes) {
      executor_.set_quantization(conv, quantization);
    }
    for (const auto& [name, value] : variant.parameters) executor_.set_parameter(name, value);
  }
  void restore(const Variant& variant) {
    for (const auto& [conv, quantization] : variant.changes) {
      const auto own = base_.quantization.find(conv);
      executor_.set_quantization(
          conv, own == base_.quantization.end() ? graph::ConvQuantization() : own->second);
    }
    for (const auto& [name, value] : variant.parameters) {
      executor_.set_parameter(name, base_.parameter(name));
    }
  }

 private:
  const graph::Graph& base_;
  exec::Executor executor_;
};

std::vector<std::string> changed_nodes(const Variant& variant) {
  std::vector<std::string> names;
  for (const auto& [conv, quantization] : variant.changes) names.push_back(conv);
  return names;
}

std::vector<at::Tensor> pick(const std::vector<at::Tensor>& values,
                             const std::vector<graph::ValueId>& wanted) {
  std::vector<at::Tensor> result;
  for (const graph::ValueId value : wanted) result.push_back(values.at(value));
  return result;
}

}  // namespace

std::string_view part_name(Part part) { return part == Part::kWeights ? "weights" : "activations"; }

std::string_view rounding_name(Rounding rounding) {
  return rounding == Rounding::kNearest ? "nearest" : "gptq";
}

std::vector<std::pair<std::string, std::vector<std::string>>> conv_blocks(
    const std::vector<std::string>& convs) {
  std::vector<std::pair<std::string, std::vector<std::string>>> blocks;
  std::map<std::string, size_t> index;
  for (const std::string& conv : convs) {
    for (size_t dot = conv.find('.'); dot != std::string::npos; dot = conv.find('.', dot + 1)) {
      const std::string path = conv.substr(0, dot);
      const auto [entry, is_new] = index.try_emplace(path, blocks.size());
      if (is_new) blocks.push_back({path, {}});
      blocks[entry->second].second.push_back(conv);
    }
  }
  // A path comes before those below it.
  std::set<std::vector<std::string>> seen;
  std::erase_if(blocks, [&](const auto& block) {
    return block.second.size() < 2 || !seen.insert(block.second).second;
  });
  return blocks;
}

std::vector<Variant> float_variants(const graph::Graph& inference, const QuantizationConfig& config,
                                    CalibrationData& images, const VariantOptions& options,
                                    Progress& progress) {
  check_rules(config, graph::conv_names(inference));
  VariantList list(inference, config);
  Annotated weights = weights_by_bits(inference, config, options.weight_bits, progress);
  const bool is_fitted = options.rounding == Rounding::kGptq;
  if (is_fitted) {
    std::vector<graph::Graph*> graphs;
    for (auto& [bits, graph] : weights) graphs.push_back(&graph);
    const LoneRoundingOptions rounding{.seed = options.seed, .device = options.calibration.device};
    round_alone(inference, graphs, images, rounding, progress);
  }
  const auto inputs = inputs_by_bits(inference, config, options.activation_bits, images,
                                     {options.calibration, options.seed}, progress);
  list.add_convs(Part::kWeights, weights, is_fitted);
  if (options.blocks) list.add_blocks(Part::kWeights, weights, is_fitted);
  list.add_convs(Part::kActivations, inputs);
  if (options.blocks) list.add_blocks(Part::kActivations, inputs);
  return list.take();
}

std::vector<Variant> raising_variants(const graph::Graph& inference,
                                      const QuantizationConfig& config,
                                      const std::vector<int>& weight_bits) {
  VariantList list(inference, config);
  auto by_bits = weights_by_bits(inference, config, weight_bits, Progress::none());
  graph::Graph& unchanged = by_bits.emplace(0, inference).first->second;
  for (const std::string& conv : list.convs()) unchanged.quantization[conv] = {};
  list.add_convs(Part::kWeights, by_bits, true);
  return list.take();
}

ReplayResult replay(const graph::Graph& inference, const graph::Graph& base,
                    const std::vector<Variant>& variants, CalibrationData& images,
                    const ReplayOptions& options, const OnOutput& on_output, Progress& progress) {
  const int64_t count =
      options.images > 0 ? std::min(options.images, images.size()) : images.size();
  if (count == 0) fail("sensitivity needs at least one image");
  const bool from_float = &inference == &base;
  exec::Executor reference(inference, {.device = options.device});
  Subject subject(base, options.device);
  const WatchedValues watched = watched_values(inference);
  std::vector<graph::ValueId> wanted = watched.values;
  if (on_output) wanted.insert(wanted.end(), inference.outputs.begin(), inference.outputs.end());

  ReplayResult result;
  result.variants.resize(variants.size());
  int64_t image = 0;
  const auto steps = static_cast<int64_t>(variants.size());
  const auto report = [&](int64_t variant, const std::vector<at::Tensor>& values) {
    if (!on_output) return;
    for (size_t i = watched.values.size(); i < values.size(); ++i) {
      on_output(image, variant, exec::to_host(values[i]));
    }
  };
  progress.start("measuring", count * steps);
  images.for_each_batch(0, count, 1, [&](const Tensor& batch) {
    const std::vector<at::Tensor> input{exec::view_of(batch)};
    const std::vector<at::Tensor> floats = reference.run_all(input);
    const HarmMeter meter(watched, pick(floats, watched.values));
    report(-1, pick(floats, wanted));
    const std::vector<at::Tensor> values = from_float ? floats : subject.executor().run_all(input);
    result.base.add(meter.compare(pick(values, watched.values)));
    if (!from_float) report(steps, pick(values, wanted));
    for (size_t v = 0; v < variants.size(); ++v) {
      subject.apply(variants[v]);
      const auto changed =
          subject.executor().run_changed(values, changed_nodes(variants[v]), wanted);
      subject.restore(variants[v]);
      result.variants[v].add(meter.compare(changed));
      report(static_cast<int64_t>(v), changed);
      progress.update(image * steps + static_cast<int64_t>(v) + 1);
    }
    ++image;
  });
  progress.finish();
  return result;
}

}  // namespace yoloquant::quant
