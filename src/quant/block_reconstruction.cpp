#include "quant/block_reconstruction.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/square.h>
#include <ATen/ops/var.h>
#include <ATen/ops/where.h>
#include <c10/core/Device.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/error.h"
#include "base/random.h"
#include "exec/convert.h"
#include "quant/adam.h"
#include "quant/straight_through.h"
#include "quant/weight_scale.h"

namespace yoloquant::quant {

namespace {

constexpr int64_t kLeastImagesToHoldOut = 4;
constexpr double kFinalRate = 0.1;  // of the cosine schedule

// Each value from `a` with probability `share`, else from `b`.
at::Tensor mixed(const at::Tensor& a, const at::Tensor& b, double share, at::Generator& random) {
  if (share <= 0) return b;
  if (share >= 1) return a;
  const at::Tensor mask = at::empty(a.sizes(), c10::TensorOptions(c10::ScalarType::Bool))
                              .bernoulli_(share, random)
                              .to(a.device());
  return at::where(mask, a, b);
}

// Convs with weights to round; not those that are exact on their grid (DFL).
bool is_fitted(const graph::Graph& annotated, const graph::Graph& reference,
               const graph::Node& node) {
  const auto annotation = annotated.quantization.find(node.name);
  if (annotation == annotated.quantization.end() || !annotation->second.weight) return false;
  const graph::Quantizer& quantizer = *annotation->second.weight;
  const Tensor& weight = reference.parameter(node.name + ".weight");
  return std::ranges::all_of(quantizer.zero_point, [](int32_t zero) { return zero == 0; }) &&
         !projection_quantizer(weight, quantizer.bits) &&
         !equal(graph::dequantize(graph::quantize(weight, quantizer), quantizer), weight);
}

}  // namespace

bool has_fitted_convs(const graph::Graph& annotated, const graph::Graph& reference,
                      const Block& block) {
  for (size_t i = block.first; i < block.last; ++i) {
    if (is_fitted(annotated, reference, annotated.nodes[i])) return true;
  }
  return false;
}

SoftBlock::SoftBlock(const graph::Graph& annotated, const graph::Graph& reference,
                     const Block& block, const ReconstructionOptions& options)
    : annotated_(annotated), block_(block), parameters_(block.last - block.first) {
  const c10::Device device(options.device);
  for (size_t i = block.first; i < block.last; ++i) {
    const graph::Node& node = annotated.nodes[i];
    if (is_fitted(annotated, reference, node)) {
      const auto bias = annotated.parameters.find(node.name + ".bias");
      at::Tensor trained;
      if (bias != annotated.parameters.end()) {
        trained = exec::view_of(bias->second).to(device, /*non_blocking=*/false, /*copy=*/true);
        trained.requires_grad_(true);
      }
      const Tensor& target = reference.parameter(node.name + ".weight");
      SoftRounding rounding(annotated.parameter(node.name + ".weight"), target,
                            *annotated.quantization.at(node.name).weight, options.lead,
                            options.device);
      convs_.emplace(i, FittedConv{std::move(rounding), trained, target.size()});
      continue;
    }
    exec::NodeParameters& p = parameters_[i - block.first];
    p = quantized_parameters(annotated, node);
    for (at::Tensor* tensor : {&p.weight, &p.bias, &p.running_mean, &p.running_var, &p.value}) {
      if (tensor->defined()) *tensor = tensor->to(device);
    }
  }
}

std::vector<at::Tensor> SoftBlock::variables() const {
  std::vector<at::Tensor> tensors;
  for (const auto& [node, conv] : convs_) tensors.push_back(conv.rounding.variable());
  return tensors;
}

std::vector<at::Tensor> SoftBlock::biases() const {
  std::vector<at::Tensor> tensors;
  for (const auto& [node, conv] : convs_) {
    if (conv.bias.defined()) tensors.push_back(conv.bias);
  }
  return tensors;
}

at::Tensor SoftBlock::indecision(double beta) const {
  at::Tensor sum;
  double size = 0;
  for (const auto& [node, conv] : convs_) {
    const auto weights = static_cast<double>(conv.size);
    const at::Tensor term = conv.rounding.indecision(beta).mul(weights);
    sum = sum.defined() ? sum.add(term) : term;
    size += weights;
  }
  return sum.div(size);
}

std::vector<at::Tensor> SoftBlock::forward(const std::vector<at::Tensor>& inputs, Weights weights,
                                           double drop, at::Generator& random) const {
  std::map<graph::ValueId, at::Tensor> values;
  for (size_t i = 0; i < inputs.size(); ++i) values[block_.inputs.at(i)] = inputs[i];
  for (size_t i = block_.first; i < block_.last; ++i) {
    const graph::Node& node = annotated_.nodes[i];
    std::vector<at::Tensor> arguments;
    for (const graph::ValueId value : node.inputs) arguments.push_back(values.at(value));
    const auto annotation = annotated_.quantization.find(node.name);
    if (annotation != annotated_.quantization.end() && annotation->second.input) {
      at::Tensor& x = arguments.at(0);
      x = mixed(x, straight_through_quantize(x, *annotation->second.input), drop, random);
    }
    exec::NodeParameters parameters = parameters_[i - block_.first];
    if (const auto conv = convs_.find(i); conv != convs_.end()) {
      const SoftRounding& rounding = conv->second.rounding;
      parameters.weight = weights == Weights::kSoft ? rounding.soft() : rounding.hard();
      parameters.bias = conv->second.bias;
    }
    const std::vector<at::Tensor> outputs = exec::apply(node, parameters, arguments);
    for (size_t k = 0; k < outputs.size(); ++k) values[node.outputs[k]] = outputs[k];
  }
  std::vector<at::Tensor> results;
  for (const graph::ValueId value : block_.outputs) results.push_back(values.at(value));
  return results;
}

void SoftBlock::store(graph::Graph& annotated) const {
  for (const auto& [node, conv] : convs_) {
    const std::string& name = annotated_.nodes[node].name;
    annotated.parameters[name + ".weight"] = exec::to_host(conv.rounding.hard());
    if (conv.bias.defined()) {
      annotated.parameters[name + ".bias"] = exec::to_host(conv.bias.detach());
    }
  }
}

namespace {

using Batches = std::vector<std::vector<at::Tensor>>;

class Reconstruction {
 public:
  Reconstruction(graph::Graph& annotated, const graph::Graph& reference, const PairedBlock& data,
                 const ReconstructionOptions& options, uint64_t seed)
      : annotated_(annotated),
        data_(data),
        options_(options),
        block_(annotated, reference, data.block, options),
        random_(seed),
        mask_random_(at::detail::createCPUGenerator(seed)),
        optimizer_({{block_.variables(), options.rate}, {block_.biases(), options.bias_rate}}) {
    const auto images = static_cast<int64_t>(data.outputs.at(0).size());
    if (images >= kLeastImagesToHoldOut) {
      held_out_ = std::clamp<int64_t>(std::llround(static_cast<double>(images) * options.held_out),
                                      1, images / 2);
    }
    train_ = images - held_out_;
    if (options.crop > 0) window_ = find_window(reference, data.block);
    for (const std::vector<at::Tensor>& output : data.outputs) {
      double variance = 0;
      for (const at::Tensor& image : output) {
        variance += at::var(image.to(c10::ScalarType::Float)).item<double>();
      }
      variance_.push_back(variance / static_cast<double>(images) + 1e-12);
    }
  }

  BlockResult run(const std::function<double(int64_t)>& fraction) {
    BlockResult result{.name = data_.block.name,
                       .images = held_out_ > 0 ? held_out_ : train_,
                       .before = error(),
                       .after = 0,
                       .iterations = 0};
    best_ = result.before;
    penalty_ = options_.penalty * result.before;
    double next_check = 1.0 / static_cast<double>(options_.checks);
    graph::Graph fitted;
    bool improved = false;
    const auto consider = [&] {
      const double now = error();
      if (!(now < best_)) return;
      best_ = now;
      improved = true;
      fitted.parameters.clear();
      block_.store(fitted);
    };
    double done = fraction(0);
    while (done < 1) {
      if (done >= next_check) {
        consider();
        next_check += 1.0 / static_cast<double>(options_.checks);
      }
      step(done);
      done = fraction(++result.iterations);
    }
    consider();
    if (improved) {
      for (auto& [name, value] : fitted.parameters) annotated_.parameters[name] = value;
    }
    result.after = best_;
    return result;
  }

 private:
  void step(double done) {
    const at::AutoGradMode guard(true);
    const Shape whole(data_.outputs[0][0].sizes().vec());
    CropSpan y;
    CropSpan x;
    if (window_) {
      y = draw_span(whole[2]);
      x = draw_span(whole[3]);
    }
    std::vector<size_t> chosen;
    for (int64_t i = 0; i < options_.batch; ++i) {
      chosen.push_back(random_.below(static_cast<uint64_t>(train_)));
    }
    const auto gather = [&](const std::vector<at::Tensor>& images, bool input) {
      std::vector<at::Tensor> parts;
      for (const size_t image : chosen) {
        at::Tensor part = images[image];
        if (window_) {
          part = input ? part.narrow(2, y.input_first, y.input_count)
                             .narrow(3, x.input_first, x.input_count)
                       : part.narrow(2, y.first, y.count).narrow(3, x.first, x.count);
        }
        parts.push_back(part);
      }
      return on_device(at::cat(parts));
    };
    std::vector<at::Tensor> inputs;
    for (size_t i = 0; i < data_.reference.size(); ++i) {
      inputs.push_back(mixed(gather(data_.reference[i], true), gather(data_.quantized[i], true),
                             options_.drop, mask_random_));
    }
    const std::vector<at::Tensor> outputs =
        block_.forward(inputs, SoftBlock::Weights::kSoft, options_.drop, mask_random_);
    at::Tensor loss;
    for (size_t i = 0; i < outputs.size(); ++i) {
      at::Tensor output = outputs[i];
      if (window_) output = output.narrow(2, y.skip, y.count).narrow(3, x.skip, x.count);
      const at::Tensor term =
          at::square(output.sub(gather(data_.outputs[i], false))).mean().div(variance_[i]);
      loss = loss.defined() ? loss.add(term) : term;
    }
    loss = loss.div(static_cast<double>(outputs.size()));
    if (done > options_.warmup) {
      const double part = (done - options_.warmup) / (1 - options_.warmup);
      const double beta =
          options_.beta_last + (options_.beta_first - options_.beta_last) * (1 - part);
      loss = loss.add(block_.indecision(beta).mul(penalty_));
    }
    if (!std::isfinite(loss.item<double>())) {
      fail("{}: the loss of block reconstruction is not finite", data_.block.name);
    }
    loss.backward();
    const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * done));
    optimizer_.step(cosine * (1 - kFinalRate) + kFinalRate);
  }

  CropSpan draw_span(int64_t extent) {
    const int64_t count = std::min(options_.crop, extent);
    const auto first =
        static_cast<int64_t>(random_.below(static_cast<uint64_t>(extent - count + 1)));
    return crop_span(*window_, first, count, extent);
  }

  // Of the rounded block, mean over the held-out images.
  double error() {
    const at::NoGradGuard guard;
    const size_t images = data_.outputs[0].size();
    const size_t first = held_out_ > 0 ? static_cast<size_t>(train_) : 0;
    double total = 0;
    for (size_t image = first; image < images; ++image) {
      std::vector<at::Tensor> inputs;
      for (const auto& input : data_.quantized) inputs.push_back(on_device(input[image]));
      const std::vector<at::Tensor> outputs =
          block_.forward(inputs, SoftBlock::Weights::kHard, 0, mask_random_);
      for (size_t i = 0; i < outputs.size(); ++i) {
        const at::Tensor wanted = on_device(data_.outputs[i][image]);
        total += at::square(outputs[i].sub(wanted)).mean().item<double>() / variance_[i];
      }
    }
    return total / static_cast<double>((images - first) * data_.outputs.size());
  }

  at::Tensor on_device(const at::Tensor& value) const {
    return value.to(c10::Device(options_.device), c10::ScalarType::Float);
  }

  graph::Graph& annotated_;
  const PairedBlock& data_;
  const ReconstructionOptions& options_;
  SoftBlock block_;
  Random random_;
  at::Generator mask_random_;
  Adam optimizer_;
  std::optional<BlockWindow> window_;
  std::vector<double> variance_;  // by output
  int64_t train_ = 0;
  int64_t held_out_ = 0;
  double best_ = std::numeric_limits<double>::infinity();
  double penalty_ = 0;
};

}  // namespace

BlockResult reconstruct_block(graph::Graph& annotated, const graph::Graph& reference,
                              const PairedBlock& data, const ReconstructionOptions& options,
                              uint64_t seed, const std::function<double(int64_t)>& fraction) {
  return Reconstruction(annotated, reference, data, options, seed).run(fraction);
}

}  // namespace yoloquant::quant
