#pragma once

#include <cstdint>

namespace yoloquant::graph {

// Extent of what a sliding window (conv, pool) makes of `input` cells with `padding` on both sides
// together. Throws Error when kernel, dilation or stride is not positive or the window does not
// fit.
int64_t window_extent(int64_t input, int64_t padding, int64_t kernel, int64_t dilation,
                      int64_t stride);

}  // namespace yoloquant::graph
