#include "base/memory.h"

#include <features.h>
#include <sys/mman.h>

#ifdef __GLIBC__
#include <malloc.h>

#include <limits>
#endif

#include "base/error.h"

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

void* allocate_pages(size_t bytes) {
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) fail("there is no memory left for {:.0f} MiB", bytes / 1048576.0);
  return pages;
}

void free_pages(void* pages, size_t bytes) noexcept { munmap(pages, bytes); }

}  // namespace yoloquant
