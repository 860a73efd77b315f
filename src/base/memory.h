#pragma once

namespace yoloquant {

// Gives what the allocator keeps of freed blocks back to the system. For long jobs that need a lot
// of memory by turns; takes about a millisecond. Does nothing where the C library has no such call.
void release_free_memory();

}  // namespace yoloquant
