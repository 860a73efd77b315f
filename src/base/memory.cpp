#include "base/memory.h"

#include <features.h>

#ifdef __GLIBC__
#include <malloc.h>

#include <limits>
#endif

namespace yoloquant {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

void release_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace yoloquant
