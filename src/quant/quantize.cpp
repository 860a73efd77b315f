#include "quant/quantize.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"
#include "quant/method.h"
#include "quant/nearest.h"
#include "quant/range_choice.h"
#include "quant/reference.h"

namespace yoloquant::quant {
namespace {

// Every chain starts from rounding to nearest.
MethodList method_chain(const std::string& list) {
  MethodList methods = parse_methods(list);
  if (methods.front()->name() != "nearest") {
    methods.insert(methods.begin(), std::make_unique<Nearest>());
  }
  return methods;
}

bool has_coarse_inputs(const graph::Graph& inference, const QuantizationConfig& config) {
  const std::vector<std::string> convs = graph::conv_names(inference);
  return std::any_of(convs.begin(), convs.end(), [&](const std::string& conv) {
    const LayerSettings settings = settings_for(config, conv);
    return quantizes_input(settings) && settings.activation_bits < kFineInputBits;
  });
}

graph::Graph without_quantizers(graph::Graph graph) {
  graph.quantization.clear();
  return graph;
}

QuantizationResult quantize_reference(const graph::Graph& model, graph::Head head,
                                      const QuantizationConfig& config, CalibrationData& images,
                                      const QuantizeOptions& options, Progress& progress) {
  if (!config.rules.empty()) fail_usage("the reference preset takes no layer rules");
  QuantizationResult result;
  result.config = reference_config(config.scheme);
  result.graph = reference_weights(model, head, config.scheme);
  const auto seen =
      calibrate_activations(result.graph, result.config, images, options.calibration, progress);
  result.layers =
      report_layers(result.graph, graph::for_inference(model, head, graph::Branches::kKeep), seen);
  return result;
}

}  // namespace

QuantizationResult quantize(const graph::Graph& inference, const QuantizationConfig& given,
                            CalibrationData& images, const QuantizeOptions& options,
                            Progress& progress) {
  check_rules(given, graph::conv_names(inference));
  ConvRanges ranges{.config = given, .seen = {}};
  const std::string method = resolve_method(given, options.effort);
  const auto choose = [&](const graph::Graph& graph) {
    const RangeChoiceOptions choice{.calibration = options.calibration, .seed = options.seed};
    ranges = choose_conv_ranges(graph, given, images, choice, progress);
    ranges.config.method = method;
  };
  const auto calibrate = [&](graph::Graph& graph) {
    if (ranges.seen.empty()) {
      return calibrate_activations(graph, ranges.config, images, options.calibration, progress);
    }
    annotate_inputs(graph, ranges.config, ranges.seen);
    return ranges.seen;
  };
  QuantizationResult result;
  result.graph = inference;
  const MethodList methods = method_chain(method);
  Budget budget(options.effort, options.seconds, options.seed);
  const MethodContext context{inference, ranges.config, images,       options.calibration,
                              budget,    progress,      options.state};
  methods.front()->apply(result.graph, context);
  if (methods.size() > 1) {
    // Methods that go on from here bring the layers close to the float model: its ranges, not those
    // behind weights rounded to nearest, are what they should work with. Inputs that stay as good
    // as float are float meanwhile: fitted to their rounding as well, weights come out worse.
    if (has_coarse_inputs(inference, given)) {
      choose(inference);
      graph::Graph floats = inference;
      calibrate(floats);
      for (const auto& [conv, annotation] : floats.quantization) {
        const bool is_coarse = annotation.input && annotation.input->bits < kFineInputBits;
        if (is_coarse) result.graph.quantization[conv].input = annotation.input;
      }
    }
    const size_t first = options.state == nullptr ? 0 : options.state->resume(result.graph);
    for (size_t i = std::max<size_t>(first, 1); i < methods.size(); ++i) {
      if (options.state != nullptr) options.state->set_place(i);
      methods[i]->apply(result.graph, context);
      release_free_memory();
    }
  }
  // What methods have changed inside of modules has ranges of its own.
  choose(without_quantizers(result.graph));
  graph::Graph calibrated = result.graph;
  const ActivationStatistics seen = calibrate(calibrated);
  for (auto& [conv, annotation] : calibrated.quantization) {
    std::optional<graph::Quantizer>& input = result.graph.quantization[conv].input;
    if (input && methods.back()->depends_on_inputs(input->bits)) {
      // The range it has, not the one that was chosen just now.
      const bool was_chosen =
          settings_for(given, conv).activation_range == RangeMethod::kChosen &&
          settings_for(ranges.config, conv).activation_range == RangeMethod::kFixed;
      if (was_chosen) set_fixed_range(ranges.config, conv, range_of(*input));
    } else {
      input = std::move(annotation.input);
    }
  }
  result.config = ranges.config;
  result.layers = report_layers(result.graph, inference, seen);
  return result;
}

QuantizationResult quantize_model(const graph::Graph& model, graph::Head head,
                                  const QuantizationConfig& config, CalibrationData& images,
                                  const QuantizeOptions& options, Progress& progress) {
  if (config.preset == Preset::kReference) {
    return quantize_reference(model, head, config, images, options, progress);
  }
  return quantize(graph::for_inference(model, head, options.branches), config, images, options,
                  progress);
}

}  // namespace yoloquant::quant
