#pragma once

#include <cstddef>
#include <functional>

namespace yoloquant {

// Number of threads to use when the user did not say: the CPUs this process may run on, or what its
// control group's quota is worth (cpu_quota.h) where that is less.
int default_threads();

// Calls body(i) once for each i in [0, count), on up to `threads` threads (<= 0:
// default_threads()). The first exception is rethrown after all threads have stopped; later items
// are then skipped.
void parallel_for(size_t count, int threads, const std::function<void(size_t)>& body);

// The same in contiguous blocks: body(begin, end).
void parallel_for_blocks(size_t count, int threads,
                         const std::function<void(size_t, size_t)>& body);

}  // namespace yoloquant
