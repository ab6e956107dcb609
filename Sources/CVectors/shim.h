// What Swift's SIMD types cannot say in one instruction: the square root of sixteen numbers, and a
// number spread over sixteen lanes after a prefetch. Compiled into the caller with the caller's flags.
#pragma once

typedef float cs_float16 __attribute__((ext_vector_type(16)));

static inline __attribute__((always_inline)) cs_float16 cs_sqrt16(cs_float16 x) {
    return __builtin_elementwise_sqrt(x);
}

static inline __attribute__((always_inline)) void cs_prefetch(const void *address) {
    __builtin_prefetch(address, 0, 3);
}
