#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>

#include "base/rank_environment.h"

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

// What ProcessGroup runs on. Each connects to the other ranks through the store.
namespace yoloquant::train {

c10::intrusive_ptr<c10d::Backend> make_gloo_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    const RankEnvironment& environment,
                                                    std::chrono::milliseconds join_timeout,
                                                    std::chrono::milliseconds timeout);

// Whether this build has it; make_nccl_backend gives nullptr otherwise.
bool nccl_is_built_in();
c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    const RankEnvironment& environment,
                                                    std::chrono::milliseconds timeout);

}  // namespace yoloquant::train
