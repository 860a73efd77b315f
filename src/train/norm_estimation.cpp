#include "train/norm_estimation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"

namespace yoloquant::train {

namespace {

struct Statistic {
  at::Tensor running;  // of the model, float32
  at::Tensor sum;      // float64
  double momentum;
};

double momentum_of(const graph::Graph& graph, const std::string& buffer) {
  const graph::Node* node = graph.find_node(buffer.substr(0, buffer.rfind('.')));
  return std::get<graph::BatchNorm>(node->op).momentum;
}

}  // namespace

void estimate_norms(TrainableGraph& model, int64_t batches, const ImageBatches& images) {
  if (batches < 1) fail("batch norms are estimated from one batch or more, not {}", batches);
  const at::NoGradGuard guard;
  std::vector<Statistic> statistics;
  std::map<std::string, at::Tensor> counters;  // num_batches_tracked before
  for (const auto& [name, buffer] : model.buffers()) {
    if (!buffer.is_floating_point()) {
      counters.emplace(name, buffer.clone());
    } else {
      statistics.push_back({buffer, at::zeros_like(buffer, buffer.options().dtype(at::kDouble)),
                            momentum_of(model.graph(), name)});
    }
  }
  for (int64_t i = 0; i < batches; ++i) {
    // From 0, a batch norm's running statistics come to momentum times the batch's.
    for (const Statistic& s : statistics) s.running.zero_();
    model.forward(images(i), NormMode::kTraining);
    for (const Statistic& s : statistics) s.sum.add_(s.running);
  }
  for (const Statistic& s : statistics) {
    s.running.copy_(s.sum.div(s.momentum * static_cast<double>(batches)));
  }
  for (const auto& [name, count] : counters) model.buffers().at(name).copy_(count);
}

KeptNorms::KeptNorms(const TrainableGraph& model) : buffers_(model.buffers()) {
  for (const auto& [name, buffer] : buffers_) copies_.emplace(name, buffer.clone());
}

KeptNorms::~KeptNorms() {
  for (const auto& [name, buffer] : buffers_) buffer.copy_(copies_.at(name));
}

}  // namespace yoloquant::train
