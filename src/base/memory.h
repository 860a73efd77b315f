#pragma once

#include <cstddef>

namespace yoloquant {

// Has the allocator keep what is freed, large blocks too. For programs that allocate and free
// tensors all the time: fetching their pages anew from the system takes up to a fifth of a training
// step. Call it before threads start. Does nothing where the C library has no such setting.
void keep_freed_memory();

// Gives what the allocator keeps of freed blocks back to the system all the same. For long jobs
// that need a lot of memory by turns; takes about a millisecond. Does nothing where the C library
// has no such call.
void release_free_memory();

// Zeroed memory straight from the system, which goes back there when it is freed: for large blocks
// that stay while others come and go, and would leave holes among these. Error when there is none.
void* allocate_pages(size_t bytes);
void free_pages(void* pages, size_t bytes) noexcept;

}  // namespace yoloquant
