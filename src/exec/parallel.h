#pragma once

#include <cstdint>
#include <functional>

namespace yoloquant::exec {

// body(first, end) over parts of 0 ... count - 1 that together are all of it, on the threads that
// LibTorch's operators run on (at::set_num_threads); one part when `count` is below `grain`.
// (at::parallel_for is inlined and runs on one thread in code compiled without OpenMP.)
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

}  // namespace yoloquant::exec
