#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/rank_environment.h"
#include "exec/named_tensors.h"

namespace yoloquant::train {

struct ProcessGroupOptions {
  std::string device = "cpu";                       // of all tensors; "cuda:K" needs NCCL
  std::chrono::milliseconds join_timeout{120'000};  // for all ranks to have started
  // For one operation. Long, as it covers what one rank does while the others wait (validation): a
  // rank that is gone is noticed at once.
  std::chrono::milliseconds timeout{1'800'000};
};

// The ranks of a training run, each a process: c10d over Gloo on the CPU, over NCCL on CUDA.
//
// REQUIRES: all ranks call the same operations in the same order, with tensors of the same shape.
// When an operation fails because a rank has ended, all others throw an Error "rank 1 is gone ..."
// within seconds, also from any later operation. (With NCCL it is the launcher that notices.)
class ProcessGroup {
 public:
  ProcessGroup();  // of one: operations return at once
  // Meets the other ranks. Throws Error when they do not come within join_timeout.
  explicit ProcessGroup(const RankEnvironment& environment,
                        const ProcessGroupOptions& options = {});
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // The sum over all ranks, the same to the bit on each; not differentiable. `values` stays.
  at::Tensor sum(const at::Tensor& values);
  // Starts to replace `buffer` (contiguous) by the sum. The function that is returned waits for it;
  // until then the buffer must be left alone.
  std::function<void()> start_sum(const at::Tensor& buffer);

  // Overwrites the tensors of all ranks by those of rank 0. All have the same names and shapes.
  void broadcast(const exec::NamedTensors& tensors);

  // Waits until all ranks are here. To be called before a run ends, so that no rank takes another's
  // orderly end for a failure.
  void barrier();

  // Whether any rank says so, for what all must do together: stop after a signal to one of them.
  bool any(bool here);

 private:
  struct Connection;

  int rank_ = 0;
  int size_ = 1;
  std::string device_ = "cpu";
  std::unique_ptr<Connection> connection_;  // nullptr: of one
};

}  // namespace yoloquant::train
