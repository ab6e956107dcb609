// What Swift's SIMD types cannot say in one instruction: the square root of sixteen numbers, a number
// spread over sixteen lanes after a prefetch, and sums of products of neighbours among 16-bit numbers.
// Compiled into the caller with the caller's flags.
#pragma once

typedef float cs_float16 __attribute__((ext_vector_type(16)));

static inline __attribute__((always_inline)) cs_float16 cs_sqrt16(cs_float16 x) {
    return __builtin_elementwise_sqrt(x);
}

static inline __attribute__((always_inline)) void cs_prefetch(const void *address) {
    __builtin_prefetch(address, 0, 3);
}

typedef short cs_short16 __attribute__((ext_vector_type(16)));
typedef int cs_int8 __attribute__((ext_vector_type(8)));

/// Sixteen bytes from an address on as numbers of 16 bits.
static inline __attribute__((always_inline)) cs_short16 cs_widen16(const signed char *address) {
    typedef signed char bytes16 __attribute__((ext_vector_type(16)));
    bytes16 bytes;
    __builtin_memcpy(&bytes, address, 16);
    return __builtin_convertvector(bytes, cs_short16);
}

/// a[2i] b[2i] + a[2i + 1] b[2i + 1] for i from 0 to 7.
static inline __attribute__((always_inline)) cs_int8 cs_products16(cs_short16 a, cs_short16 b) {
#ifdef __AVX2__
    typedef short plain16 __attribute__((vector_size(32)));
    typedef int plain8 __attribute__((vector_size(32)));
    return (cs_int8)(plain8)__builtin_ia32_pmaddwd256((plain16)a, (plain16)b);
#else
    return __builtin_convertvector(a.even, cs_int8) * __builtin_convertvector(b.even, cs_int8) +
           __builtin_convertvector(a.odd, cs_int8) * __builtin_convertvector(b.odd, cs_int8);
#endif
}
