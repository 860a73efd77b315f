#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "train/process_group.h"

namespace yoloquant::train {

// Sums gradients over all ranks while backward goes on: parameters share buckets, in reverse order
// of use, and a bucket is on its way as soon as all of its gradients are there. A group of one
// costs nothing. Follows: Li et al. 2020, PyTorch Distributed (VLDB 13).
//
//   reducer.arm();                 // before the last backward of a step; earlier ones accumulate
//   loss.total.backward();
//   reducer.finish();              // gradients are now the sums, the same on all ranks
//   optimizer.step(...);
//
// The loss of each rank must be its share of the whole (LossOptions::sum_over_ranks). A gradient
// scaler unscales after finish(): an overflow on one rank is then one on all.
class GradientReducer {
 public:
  // `parameters` as TrainableGraph::parameters_in_order() gives them, more at either end; all
  // floating point of one type, and the same on all ranks. REQUIRES: `group` outlives this; there
  // is one reducer to a parameter.
  GradientReducer(ProcessGroup& group, const std::vector<at::Tensor>& parameters);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  void arm();
  // Parameters without a gradient on any rank stay without. The gradients are views into buckets,
  // which the next arm() to finish() overwrites.
  void finish();

  size_t buckets() const;

 private:
  struct Bucket;
  class Hook;

  void gradient_is_ready(size_t bucket);
  void start_ready_buckets();
  void start(Bucket& bucket);
  void write_back(Bucket& bucket);

  ProcessGroup& group_;
  std::vector<Bucket> buckets_;  // in the order in which they are sent
  size_t sent_ = 0;              // buckets, in this step
  bool armed_ = false;
};

// Bytes of each bucket's parameters, given all parameters' in order of use: at most 25 MiB unless
// one parameter alone is larger, a quarter of the whole in small models, and the first, for which
// backward has nothing to overlap with yet, at most 1 MiB. Returns for each bucket the number of
// parameters, the first counted from the end.
std::vector<size_t> bucket_sizes(const std::vector<int64_t>& bytes);

}  // namespace yoloquant::train
