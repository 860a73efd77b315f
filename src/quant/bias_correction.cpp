#include "quant/bias_correction.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "exec/operators.h"
#include "quant/paired_walk.h"

namespace yoloquant::quant {
namespace {

constexpr size_t kHeldOutEvery = 4;  // images, from the second on

// E[y - y'] by output channel, of one image.
std::vector<double> mean_error(const graph::Node& node, const exec::NodeParameters& reference,
                               const exec::NodeParameters& quantized, const at::Tensor& x,
                               const at::Tensor& x_quantized) {
  const at::Tensor y = exec::apply(node, reference, {x}).at(0);
  const at::Tensor error = y.sub(exec::apply(node, quantized, {x_quantized}).at(0));
  const at::Tensor mean =
      error.to(c10::ScalarType::Double).mean(at::IntArrayRef({0, 2, 3})).contiguous();
  const auto* begin = mean.const_data_ptr<double>();
  return {begin, begin + mean.numel()};
}

// What to add to the bias of a channel whose images have these mean errors. Adding d changes its
// squared error by d^2 - 2 d E[y - y'].
double correction(const std::vector<std::vector<double>>& errors, size_t channel) {
  double fitted = 0;
  double held_out = 0;
  double held_out_images = 0;
  for (size_t image = 0; image < errors.size(); ++image) {
    const double error = errors[image][channel];
    if (image % kHeldOutEvery == 1) {
      held_out += error;
      ++held_out_images;
    } else {
      fitted += error;
    }
  }
  const auto images = static_cast<double>(errors.size());
  const double all = (fitted + held_out) / images;
  if (held_out_images == 0) return all;
  fitted /= images - held_out_images;
  held_out /= held_out_images;
  return fitted * fitted - 2 * fitted * held_out < 0 ? all : 0;
}

void correct(graph::Graph& annotated, const graph::Graph& reference, const PairedInput& input) {
  const auto found = annotated.parameters.find(input.node.name + ".bias");
  if (found == annotated.parameters.end()) return;
  const exec::NodeParameters original = quantized_parameters(reference, input.node);
  const exec::NodeParameters quantized = quantized_parameters(annotated, input.node);
  std::vector<std::vector<double>> errors;
  for (size_t image = 0; image < input.batches; ++image) {
    errors.push_back(mean_error(input.node, original, quantized, input.reference(image),
                                input.quantized(image)));
  }
  const auto bias = found->second.mutable_data<float>();
  for (size_t c = 0; c < bias.size(); ++c) {
    bias[c] = static_cast<float>(bias[c] + correction(errors, c));
  }
}

}  // namespace

void BiasCorrection::apply(graph::Graph& annotated, const MethodContext& context) {
  if (annotated.quantization.empty()) return;
  if (context.images.size() == 0) fail("bias correction needs at least one image");
  const auto total = static_cast<int64_t>(annotated.quantization.size());
  context.progress.start("correcting biases", total);
  int64_t done = 0;
  walk_pairs(context.reference, annotated, context.images, {.images = kImages, .batch = 1},
             [&](const PairedInput& input) {
               with_context(input.node.name, [&] { correct(annotated, context.reference, input); });
               context.progress.update(++done, input.node.name);
             });
  context.progress.finish();
}

}  // namespace yoloquant::quant
