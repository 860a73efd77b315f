#pragma once

// YOLOQUANT_SIMD before a function: compiled for several x86 vector widths, the best of which is
// chosen when the program starts. The loops in it are plain code that the compiler vectorizes.
// (Sanitizers cannot run the code that chooses.)
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define YOLOQUANT_SIMD __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#else
#define YOLOQUANT_SIMD
#endif
