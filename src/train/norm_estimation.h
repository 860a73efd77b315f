#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "train/trainable_graph.h"

namespace yoloquant::train {

// Images [N, 3, H, W] of batch `index`, from 0, for TrainableGraph::forward.
using ImageBatches = std::function<at::Tensor(int64_t index)>;

// Replaces the running statistics of all batch norms by the plain means of those of `batches`
// batches of equal size, run in training mode with the conv hook in place: what PyTorch's batch
// norm keeps with momentum None (Nagel et al. 2022, "batch-norm re-estimation"; Wu, Johnson 2021,
// "Rethinking 'Batch' in BatchNorm", PreciseBN). One pass is exact for all layers: in training mode
// no value depends on running statistics, nor do the codes of weights (see QuantizedTraining).
// Throws Error for fewer than one batch.
void estimate_norms(TrainableGraph& model, int64_t batches, const ImageBatches& images);

// Keeps the running statistics of a model, and puts them back when it goes.
class KeptNorms {
 public:
  explicit KeptNorms(const TrainableGraph& model);
  ~KeptNorms();
  KeptNorms(const KeptNorms&) = delete;
  KeptNorms& operator=(const KeptNorms&) = delete;

 private:
  NamedTensors buffers_;
  NamedTensors copies_;
};

}  // namespace yoloquant::train
