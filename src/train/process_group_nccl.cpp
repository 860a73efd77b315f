#include <torch/csrc/distributed/c10d/Backend.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "train/process_group_backend.h"

namespace yoloquant::train {

#ifdef USE_C10D_NCCL

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    const RankEnvironment& environment,
                                                    std::chrono::milliseconds timeout) {
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, environment.rank,
                                                     environment.world_size, options);
}

bool nccl_is_built_in() { return true; }

#else

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>&,
                                                    const RankEnvironment&,
                                                    std::chrono::milliseconds) {
  return {};
}

bool nccl_is_built_in() { return false; }

#endif

}  // namespace yoloquant::train
