#include "train/quantized_training.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "exec/convert.h"
#include "graph/passes.h"
#include "quant/calibrate.h"
#include "train/layer_measures.h"
#include "train/oscillation.h"
#include "train/quantized_layer.h"

namespace yoloquant::train {

namespace {

// The convs that quantization of the model knows must be those of `annotated`.
void check_same_model(const graph::Graph& training, const graph::Graph& annotated) {
  const std::string& head = annotated.metadata.head;
  const graph::Graph expected =
      graph::for_inference(training, head.empty() ? graph::Head::kBoth : graph::parse_head(head),
                           graph::Branches::kKeep);
  const std::vector<std::string> own = graph::conv_names(expected);
  const std::vector<std::string> given = graph::conv_names(annotated);
  const std::set<std::string> missing_in(given.begin(), given.end());
  for (const std::string& conv : own) {
    if (!missing_in.contains(conv)) {
      fail_usage(
          "the quantized model has no conv {}, which the model to train has: quantize the same "
          "model, with its branches kept",
          conv);
    }
    if (expected.parameter(conv + ".weight").shape() !=
        annotated.parameter(conv + ".weight").shape()) {
      fail_usage("{} has another shape in the quantized model: quantize the same model", conv);
    }
  }
  if (own.size() != given.size()) {
    fail_usage("the quantized model has {} convs, the model to train {}: quantize the same model",
               given.size(), own.size());
  }
}

void observe(InputQuantizer& input, const at::Tensor& batch) {
  const at::Tensor host = batch.detach().to(at::kCPU, at::kFloat).contiguous();
  for (int64_t i = 0; i < host.size(0); ++i) {
    const at::Tensor image = host[i];
    input.observer.observe({image.const_data_ptr<float>(), static_cast<size_t>(image.numel())});
  }
}

void take_observed_range(InputQuantizer& input) {
  quant::LayerSettings settings;
  settings.activation_bits = input.form.bits;
  settings.symmetric = input.form.is_signed();
  input.set(quant::input_quantizer(input.observer, settings));
  input.observer = {};
}

// 2 mean|w| / sqrt(high) by channel.
at::Tensor lsq_steps(const QuantizedLayer& layer) {
  const at::Tensor mean = layer.weight.detach().abs().flatten(1).mean(1);
  const double factor = 2 / std::sqrt(static_cast<double>(layer.range.high));
  return mean.mul(factor).clamp_min(std::numeric_limits<float>::min());
}

}  // namespace

struct QuantizedTraining::Layers {
  std::vector<QuantizedLayer> all;  // in execution order
  std::map<std::string, size_t> index;
  GradientNorms gradients;
};

QuantizedTraining::QuantizedTraining(TrainableGraph& model, const graph::Graph& annotated,
                                     const QatOptions& options)
    : model_(model), options_(options), layers_(std::make_unique<Layers>()) {
  check(options_);
  check_same_model(model.graph(), annotated);
  for (const std::string& conv : graph::conv_names(annotated)) {
    const auto annotation = annotated.quantization.find(conv);
    // The DFL projection is behind the logits: it is not trained, and exact.
    if (annotation == annotated.quantization.end() || !annotation->second.weight ||
        !model.parameters().contains(conv + ".weight")) {
      continue;
    }
    QuantizedLayer layer = make_layer(model, conv, annotation->second);
    if (options_.adopt_weights) adopt(layer, annotated);
    if (options_.weight_steps == StepStart::kLsq) layer.set_steps(lsq_steps(layer));
    if (options_.correct_after < 1 && !layer.norm) {
      layer.correction = at::zeros_like(layer.log_step.detach()).requires_grad_(true);
    }
    if (options_.learn_zero_points && layer.input && !layer.input->form.is_signed()) {
      layer.input->zero_point.requires_grad_(true);
    }
    layer.tracker = OscillationTracker(layer.codes(), options_.freezing);
    layers_->index.emplace(conv, layers_->all.size());
    layers_->all.push_back(std::move(layer));
  }
  if (layers_->all.empty()) fail_usage("the quantized model has no quantized convs to train");
  layers_->gradients = GradientNorms(layers_->all.size(), layers_->all[0].weight);
  collect_parameters();
  model.set_conv_hook([this](const ConvSite& site, ConvArguments arguments) {
    return quantize(site, std::move(arguments));
  });
}

QuantizedTraining::~QuantizedTraining() { model_.set_conv_hook(nullptr); }

void QuantizedTraining::collect_parameters() {
  const auto add = [this](const std::string& name, const at::Tensor& value) {
    if (value.defined() && value.requires_grad()) parameters_.emplace(name, value);
  };
  for (const QuantizedLayer& layer : layers_->all) {
    add(layer.conv + ".weight_log_step", layer.log_step);
    add(layer.conv + ".correction", layer.correction);
    if (!layer.input) continue;
    add(layer.conv + ".input_log_step", layer.input->log_step);
    add(layer.conv + ".input_zero_point", layer.input->zero_point);
  }
}

ParameterGroup QuantizedTraining::parameter_group() const {
  return {.name = "step", .parameters = parameters_};
}

NamedTensors QuantizedTraining::state() const {
  NamedTensors state = parameters_;
  for (const QuantizedLayer& layer : layers_->all) {
    state.emplace(layer.conv + ".weight_bits", layer.bits);
    state.emplace(layer.conv + ".weight_log_step_start", layer.start);
    for (const auto& [name, value] : layer.tracker.state()) {
      state.emplace(layer.conv + "." + name, value);
    }
    if (!layer.input) continue;
    state.emplace(layer.conv + ".input_zero_point", layer.input->zero_point);
    state.emplace(layer.conv + ".input_log_step_start", layer.input->start);
  }
  return state;
}

void QuantizedTraining::load(const TensorMap& state, const std::string& what) {
  exec::copy_into(this->state(), state, what);
  for (QuantizedLayer& layer : layers_->all) {
    const auto bits = layer.bits.item<int64_t>();
    if (!quant::valid_weight_bits(static_cast<int>(bits))) {
      fail("{}: {} has {} weight bits", what, layer.conv, bits);
    }
    layer.set_bits(static_cast<int>(bits));
    if (layer.input) layer.input->ready = true;
  }
}

bool QuantizedTraining::needs_input_ranges() const {
  return std::ranges::any_of(
      layers_->all, [](const QuantizedLayer& layer) { return layer.input && !layer.input->ready; });
}

void QuantizedTraining::set_input_ranges(int64_t batches, const ImageBatches& images) {
  if (batches < 1) fail("ranges of inputs are set from one batch or more, not {}", batches);
  const at::NoGradGuard guard;
  {
    const KeptNorms kept(model_);
    observing_ = true;
    for (int64_t i = 0; i < batches; ++i) model_.forward(images(i), NormMode::kTraining);
    observing_ = false;
  }
  for (QuantizedLayer& layer : layers_->all) {
    if (layer.input && !layer.input->ready) {
      with_context(layer.conv, [&] { take_observed_range(*layer.input); });
    }
  }
}

ConvArguments QuantizedTraining::quantize(const ConvSite& site, ConvArguments arguments) {
  const auto found = layers_->index.find(site.name);
  if (found == layers_->index.end()) return arguments;
  QuantizedLayer& layer = layers_->all[found->second];
  arguments.weight = layer.quantized(arguments.weight);
  if (!layer.input) return arguments;
  InputQuantizer& input = *layer.input;
  if (input.ready) {
    arguments.input = quantize_activation(arguments.input, input.log_step, input.zero_point,
                                          input.range(), input.count);
  } else if (observing_) {
    with_context(layer.conv, [&] { observe(input, arguments.input); });
  } else {
    fail("{}: the range of its input is not known yet: set_input_ranges comes first", layer.conv);
  }
  return arguments;
}

int QuantizedTraining::bits_at(double progress, int target) const {
  int bits = target;
  for (const BitStage& stage : options_.stages) {
    if (progress >= stage.progress) bits = std::max(stage.bits, target);
  }
  return bits;
}

bool QuantizedTraining::begin_epoch(double progress) {
  layers_->gradients.clear();
  bool changed = false;
  for (QuantizedLayer& layer : layers_->all) {
    layer.tracker.clear_count();
    if (layer.input) layer.input->count.zero_();
    const int bits = bits_at(progress, layer.target_bits);
    if (bits == layer.bits.item<int64_t>()) continue;
    layer.set_bits(bits);
    layer.search_steps();
    // Codes have another meaning now.
    layer.tracker.restart(layer.codes());
    changed = true;
  }
  return changed;
}

bool QuantizedTraining::correcting(double progress) const {
  return options_.correct_after < 1 && progress >= options_.correct_after;
}

NormMode QuantizedTraining::norm_mode(double progress) const {
  const bool frozen = options_.freeze_norms_after < 1 && progress >= options_.freeze_norms_after;
  return frozen || correcting(progress) ? NormMode::kEvaluation : NormMode::kTraining;
}

at::Tensor QuantizedTraining::penalty(double progress) const {
  const double weight = cosine_between(0, options_.dampening, progress);
  if (weight == 0 || correcting(progress)) return {};
  at::Tensor sum;
  for (const QuantizedLayer& layer : layers_->all) {
    const at::Tensor own = dampening_penalty(layer.weight, layer.signed_step(), layer.range);
    sum = sum.defined() ? sum.add(own) : own;
  }
  return sum.mul(weight);
}

void QuantizedTraining::before_step(double progress) {
  if (correcting(progress)) {
    for (const auto& [name, parameter] : model_.parameters()) {
      const bool corrects = name.ends_with(".bias") || model_.is_norm(name);
      if (!corrects) parameter.mutable_grad() = at::Tensor();
    }
  }
  for (const auto& [name, parameter] : parameters_) {
    if (name.ends_with(".correction") != correcting(progress)) {
      parameter.mutable_grad() = at::Tensor();
    }
  }
  std::vector<LayerGradients> gradients;
  for (const QuantizedLayer& layer : layers_->all) {
    gradients.push_back({.weight = layer.weight.grad(),
                         .step = layer.log_step.grad(),
                         .input_step = layer.input ? layer.input->log_step.grad() : at::Tensor()});
  }
  layers_->gradients.add(gradients);
}

void QuantizedTraining::after_step(double progress) {
  const at::NoGradGuard guard;
  const double threshold =
      cosine_between(options_.freeze_threshold, options_.final_freeze_threshold, progress);
  for (QuantizedLayer& layer : layers_->all) {
    if (layer.input && options_.learn_zero_points) {
      layer.input->zero_point.detach().clamp_(layer.input->form.qmin, layer.input->form.qmax);
    }
    layer.tracker.update(layer.codes(), options_.oscillation_momentum);
    if (!options_.freezing) continue;
    layer.tracker.freeze(threshold);
    layer.tracker.hold(layer.weight, layer.signed_step());
  }
}

std::vector<LayerStatistics> QuantizedTraining::statistics() const {
  std::vector<LayerStatistics> result;
  for (const QuantizedLayer& layer : layers_->all) result.push_back(measure(layer));
  layers_->gradients.write(result);
  return result;
}

void QuantizedTraining::store(graph::Graph& annotated) const {
  check_same_model(model_.graph(), annotated);
  graph::Graph trained = model_.graph();
  model_.store(trained);
  const graph::Graph folded = graph::fold_batch_norm(trained);
  for (const std::string& conv : graph::conv_names(annotated)) {
    if (!model_.parameters().contains(conv + ".weight")) continue;
    for (const char* part : {".weight", ".bias"}) {
      const auto found = folded.parameters.find(conv + part);
      if (found != folded.parameters.end()) annotated.parameters.at(conv + part) = found->second;
    }
    const auto layer = layers_->index.find(conv);
    if (layer != layers_->index.end()) export_layer(layers_->all[layer->second], annotated);
  }
}

}  // namespace yoloquant::train
