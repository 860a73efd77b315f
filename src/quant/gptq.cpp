#include "quant/gptq.h"

#include <algorithm>

#include "base/error.h"
#include "quant/fisher.h"
#include "quant/weight_scale.h"

namespace yoloquant::quant {

namespace {

class Rounding {
 public:
  Rounding(graph::Graph& annotated, const MethodContext& context, const GptqOptions& options,
           const PositionWeights& weights)
      : annotated_(annotated), context_(context), options_(options), weights_(weights) {}

  void fit(const PairedInput& input) {
    const std::string& name = input.node.name;
    const Tensor& original = context_.reference.parameter(name + ".weight");
    graph::Quantizer& quantizer = *annotated_.quantization.at(name).weight;
    // A lossless quantizer (DFL) stays as it is, and so does its bias; and the DFL projection where
    // the checkpoint's has rounding errors, to which a fit would return.
    const Tensor rounded = dequantize(quantize(original, quantizer), quantizer);
    if (equal(rounded, original) || !quantizer.per_channel()) return;
    if (projection_quantizer(original, quantizer.bits)) return;
    ConvToFit conv{input, original, quantizer, {}};
    const auto weights = weights_.find(name);
    if (weights != weights_.end()) conv.weights = weights->second;
    // By name, so that a resumed run draws the same.
    Random random(splitmix64_mix(context_.budget.seed() + 0x67707471) ^ fnv1a64(name));
    FittedConv fitted = fit_output(conv, options_.fit, random);
    annotated_.parameters[name + ".weight"] = std::move(fitted.weight);
    quantizer.scale = std::move(fitted.scale);
    const auto bias = context_.reference.parameters.find(name + ".bias");
    if (bias == context_.reference.parameters.end()) return;
    Tensor& changed = annotated_.parameters[name + ".bias"];
    const auto before = bias->second.data<float>();
    const auto after = changed.mutable_data<float>();
    for (size_t i = 0; i < after.size(); ++i) {
      after[i] = static_cast<float>(before[i] + fitted.bias_change[i]);
    }
  }

 private:
  graph::Graph& annotated_;
  const MethodContext& context_;
  const GptqOptions& options_;
  const PositionWeights& weights_;
};

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

void Gptq::apply(graph::Graph& annotated, const MethodContext& context) {
  run_gptq(annotated, context);
}

}  // namespace yoloquant::quant
