#include "quant/fisher.h"

#include <ATen/ops/square.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>
#include <span>

#include "base/random.h"
#include "exec/convert.h"
#include "exec/executor.h"
#include "quant/output_harm.h"
#include "quant/student.h"

namespace yoloquant::quant {
namespace {

constexpr int kBins = 8192;

// Sums of squared gradients by value.
class Accumulator {
 public:
  explicit Accumulator(const ActivationRange& range)
      : low_(range.low), width_((range.high - range.low) / kBins), sums_(kBins) {}

  // Of equal size, in the same order.
  void add(std::span<const float> values, std::span<const float> gradients) {
    const auto low = static_cast<float>(low_);
    const auto per_bin = static_cast<float>(width_ > 0 ? 1 / width_ : 0);
    for (size_t i = 0; i < values.size(); ++i) {
      const float place = (values[i] - low) * per_bin;
      // A NaN is no place and goes to the first bin.
      const float bin = place > 0 ? std::min(place, kBins - 1.0F) : 0.0F;
      sums_[static_cast<size_t>(bin)] += static_cast<double>(gradients[i]) * gradients[i];
    }
  }

  // Of the bins with weight.
  ValueDensity density(int64_t images) const {
    ValueDensity density;
    density.width = width_;
    for (int i = 0; i < kBins; ++i) {
      if (sums_[i] <= 0) continue;
      density.value.push_back(static_cast<float>(low_ + (i + 0.5) * width_));
      density.weight.push_back(static_cast<float>(sums_[i] / static_cast<double>(images)));
    }
    return density;
  }

 private:
  double low_;
  double width_;
  std::vector<double> sums_;
};

// Both on the host, in one order.
void add(Accumulator& accumulator, const at::Tensor& value, const at::Tensor& gradient) {
  const auto on_host = [](const at::Tensor& x) { return x.detach().to(at::kCPU, at::kFloat); };
  at::Tensor x = on_host(value);
  at::Tensor g = on_host(gradient);
  if (!x.is_non_overlapping_and_dense() || x.strides() != g.strides()) {
    x = x.contiguous();
    g = g.contiguous();
  }
  const auto size = static_cast<size_t>(x.numel());
  accumulator.add({x.const_data_ptr<float>(), size}, {g.const_data_ptr<float>(), size});
}

using GradientVisitor = std::function<void(graph::ValueId, const at::Tensor& value)>;

// Calls `visit` with the values that are wanted and have a gradient, image by image.
void visit_gradients(const graph::Graph& graph, CalibrationData& images,
                     const FisherOptions& options,
                     const std::function<bool(graph::ValueId)>& wanted, Progress& progress,
                     const GradientVisitor& visit) {
  const Student model(graph, {.device = exec::resolve_device(options.device),
                              .bfloat16 = options.bfloat16,
                              .trainable = false});
  const WatchedValues watched = watched_values(graph);
  Random random(splitmix64_mix(options.seed + 0x66697368));
  int64_t done = 0;
  images.for_each_batch(options.first, options.last, 1, [&](const Tensor& batch) {
    at::Tensor input = exec::view_of(batch).contiguous(at::MemoryFormat::ChannelsLast).clone();
    input.requires_grad_(true);
    std::map<graph::ValueId, at::Tensor> seen;
    const auto keep = [&](graph::ValueId id, const at::Tensor& value) {
      if (!wanted(id) || !value.requires_grad()) return;
      value.retain_grad();
      seen[id] = value;
    };
    harm_probe(watched, model.forward(input, watched.values, keep), random).backward();
    for (const auto& [id, value] : seen) {
      if (value.grad().defined()) visit(id, value);
    }
    progress.update(++done);
  });
}

}  // namespace

FisherDensities fisher_densities(const graph::Graph& graph, const FisherRanges& ranges,
                                 CalibrationData& images, const FisherOptions& options,
                                 Progress& progress) {
  std::map<graph::ValueId, Accumulator> accumulators;
  const int64_t count = options.last - options.first;
  progress.start("weighing activations", count);
  visit_gradients(
      graph, images, options, [&](graph::ValueId id) { return ranges.contains(id); }, progress,
      [&](graph::ValueId id, const at::Tensor& value) {
        add(accumulators.try_emplace(id, ranges.at(id)).first->second, value, value.grad());
      });
  progress.finish();
  FisherDensities densities;
  for (const auto& [id, accumulator] : accumulators) {
    densities.emplace(id, accumulator.density(count));
  }
  return densities;
}

PositionWeights position_weights(const graph::Graph& graph, CalibrationData& images,
                                 const FisherOptions& options, Progress& progress) {
  std::map<graph::ValueId, std::string> convs;
  for (const graph::Node& node : graph.nodes) {
    if (std::holds_alternative<graph::Conv>(node.op)) convs[node.outputs[0]] = node.name;
  }
  const int64_t count = options.last - options.first;
  PositionWeights weights;
  std::map<graph::ValueId, int64_t> seen;
  progress.start("weighing positions", count);
  visit_gradients(
      graph, images, options, [&](graph::ValueId id) { return convs.contains(id); }, progress,
      [&](graph::ValueId id, const at::Tensor& value) {
        const at::Tensor sum =
            at::square(value.grad()[0].to(c10::ScalarType::Float)).sum(0).flatten();
        at::Tensor& all = weights[convs[id]];
        // Of all images at once: many small ones among a pass's large values leave holes in memory.
        if (!all.defined()) {
          all = at::zeros({count, sum.size(0)}, at::TensorOptions(c10::ScalarType::BFloat16));
        }
        all[seen[id]++].copy_(sum);
      });
  progress.finish();
  return weights;
}

}  // namespace yoloquant::quant
