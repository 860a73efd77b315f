#include "quant/gptq.h"

#include <algorithm>

#include "base/error.h"
#include "quant/fisher.h"
#include "quant/weight_scale.h"

namespace yoloquant::quant {

namespace {

// A lossless quantizer (DFL) stays as it is, and so does its bias; and the DFL projection where the
// checkpoint's has rounding errors, to which a fit would return.
bool can_be_fitted(const Tensor& weight, const graph::Quantizer& quantizer) {
  if (!quantizer.per_channel() || projection_quantizer(weight, quantizer.bits)) return false;
  return !equal(dequantize(quantize(weight, quantizer), quantizer), weight);
}

void store(FittedConv fitted, const std::string& conv, const graph::Graph& reference,
           graph::Graph& annotated) {
  annotated.parameters[conv + ".weight"] = std::move(fitted.weight);
  annotated.quantization.at(conv).weight->scale = std::move(fitted.scale);
  const auto bias = reference.parameters.find(conv + ".bias");
  if (bias == reference.parameters.end()) return;
  Tensor& changed = annotated.parameters[conv + ".bias"];
  const auto before = bias->second.data<float>();
  const auto after = changed.mutable_data<float>();
  for (size_t i = 0; i < after.size(); ++i) {
    after[i] = static_cast<float>(before[i] + fitted.bias_change[i]);
  }
}

// By name, so that a resumed run draws the same.
Random draws_of(const std::string& conv, uint64_t seed) {
  return Random(splitmix64_mix(seed + 0x67707471) ^ fnv1a64(conv));
}

at::Tensor weights_of(const std::string& conv, const PositionWeights& weights) {
  const auto found = weights.find(conv);
  return found == weights.end() ? at::Tensor() : found->second;
}

class Rounding {
 public:
  Rounding(graph::Graph& annotated, const MethodContext& context, const GptqOptions& options,
           const PositionWeights& weights)
      : annotated_(annotated), context_(context), options_(options), weights_(weights) {}

  void fit(const PairedInput& input) {
    const std::string& name = input.node.name;
    const Tensor& original = context_.reference.parameter(name + ".weight");
    const graph::Quantizer& quantizer = *annotated_.quantization.at(name).weight;
    if (!can_be_fitted(original, quantizer)) return;
    Random random = draws_of(name, context_.budget.seed());
    store(fit_output({input, original, weights_of(name, weights_)},
                     {quantizer.qmin, quantizer.qmax}, options_.fit, random),
          name, context_.reference, annotated_);
  }

 private:
  graph::Graph& annotated_;
  const MethodContext& context_;
  const GptqOptions& options_;
  const PositionWeights& weights_;
};

// In each of the graphs that has few bits for it.
void round_one_alone(const ConvToFit& conv, const graph::Graph& inference,
                     const std::vector<graph::Graph*>& annotated,
                     const LoneRoundingOptions& options) {
  const std::string& name = conv.input.node.name;
  std::vector<graph::Graph*> graphs;
  std::vector<CodeRange> ranges;
  for (graph::Graph* graph : annotated) {
    const auto annotation = graph->quantization.find(name);
    if (annotation == graph->quantization.end()) continue;
    const graph::Quantizer& quantizer = *annotation->second.weight;
    if (quantizer.bits >= kFineWeightBits || !can_be_fitted(conv.weight, quantizer)) continue;
    graphs.push_back(graph);
    ranges.push_back({quantizer.qmin, quantizer.qmax});
  }
  if (ranges.empty()) return;
  Random random = draws_of(name, options.seed);
  std::vector<FittedConv> fitted = fit_outputs(conv, ranges, options.fit, random);
  for (size_t i = 0; i < graphs.size(); ++i) {
    store(std::move(fitted[i]), name, inference, *graphs[i]);
  }
}

}  // namespace

void run_gptq(graph::Graph& annotated, const MethodContext& context, const GptqOptions& options) {
  const auto total = static_cast<int64_t>(annotated.quantization.size());
  const int64_t available = context.images.size() - held_out_count(context.images.size());
  const int64_t images = options.images > 0 ? std::min(options.images, available) : available;
  PositionWeights weights;
  if (options.fit.weighted > 0) {
    weights = position_weights(context.reference, context.images,
                               {.device = context.calibration.device,
                                .last = images,
                                .seed = context.budget.seed(),
                                .bfloat16 = true},
                               context.progress);
  }
  context.progress.start("rounding weights to the float model's output", total);
  Rounding rounding(annotated, context, options, weights);
  const int64_t resumed = take_count(context.state, total);
  int64_t done = 0;
  Budget since_save;
  const auto save = [&] {
    if (done <= resumed) return;
    save_count(context.state, annotated, done);
    since_save = Budget();
  };
  try {
    walk_pairs(context.reference, annotated, context.images,
               {.images = images, .batch = 4, .memory = options.memory},
               [&](const PairedInput& input) {
                 if (done >= resumed) {
                   with_context(input.node.name, [&] { rounding.fit(input); });
                 }
                 ++done;
                 if (since_save.elapsed_seconds() > MethodState::kInterval) save();
                 context.progress.update(done, input.node.name);
               });
  } catch (const Error&) {
    save();
    throw;
  }
  context.progress.finish();
}

void round_alone(const graph::Graph& inference, const std::vector<graph::Graph*>& annotated,
                 CalibrationData& images, const LoneRoundingOptions& options, Progress& progress) {
  const int64_t available = images.size() - held_out_count(images.size());
  const int64_t count = std::min(options.images, available);
  PositionWeights weights;
  if (options.fit.weighted > 0) {
    weights = position_weights(
        inference, images,
        {.device = options.device, .last = count, .seed = options.seed, .bfloat16 = true},
        progress);
  }
  // What is still to be visited: a conv that was is float again, so later ones see float inputs.
  graph::Graph walked = inference;
  for (const graph::Graph* graph : annotated) {
    for (const auto& [conv, annotation] : graph->quantization) {
      walked.quantization[conv].weight = annotation.weight;
    }
  }
  progress.start("rounding each layer by itself", static_cast<int64_t>(walked.quantization.size()));
  int64_t done = 0;
  walk_pairs(
      inference, walked, images, {.images = count, .batch = 4}, [&](const PairedInput& input) {
        const std::string& name = input.node.name;
        round_one_alone({input, inference.parameter(name + ".weight"), weights_of(name, weights)},
                        inference, annotated, options);
        walked.quantization.at(name).weight.reset();
        progress.update(++done, name);
      });
  progress.finish();
}

void Gptq::apply(graph::Graph& annotated, const MethodContext& context) {
  run_gptq(annotated, context);
}

}  // namespace yoloquant::quant
