// Opens OpenBLAS once per process, after the kernels have been chosen.
#define _GNU_SOURCE
#include "copenblas.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef void (*sgemm_function)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                               float alpha, const float *a, int lda, const float *b, int ldb,
                               float beta, float *c, int ldc);
typedef void (*set_threads_function)(int);
typedef char *(*corename_function)(void);

static sgemm_function sgemm;
static const char *core_in_use;

int cs_blas_open(const char *core, char *message, size_t message_size) {
    if (sgemm) return 0;
    setenv("OPENBLAS_CORETYPE", core, 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so", "libcblas.so.3"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(message, message_size, "OpenBLAS could not be loaded: %s", dlerror());
        return -1;
    }
    sgemm_function found = (sgemm_function)dlsym(library, "cblas_sgemm");
    if (!found) {
        snprintf(message, message_size, "OpenBLAS has no cblas_sgemm: %s", dlerror());
        dlclose(library);
        return -1;
    }
    set_threads_function set_threads =
        (set_threads_function)dlsym(library, "openblas_set_num_threads");
    if (set_threads) set_threads(1);
    corename_function corename = (corename_function)dlsym(library, "openblas_get_corename");
    core_in_use = corename ? corename() : "unknown";
    sgemm = found;
    return 0;
}

const char *cs_blas_core(void) { return core_in_use; }

void cs_sgemm(int transpose_a, int transpose_b, int m, int n, int k, const float *a, int lda,
              const float *b, int ldb, float beta, float *c, int ldc) {
    enum { row_major = 101, plain = 111, transposed = 112 };
    sgemm(row_major, transpose_a ? transposed : plain, transpose_b ? transposed : plain, m, n, k,
          1.0f, a, lda, b, ldb, beta, c, ldc);
}

int cs_cpu_has_avx512(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#else
    return 0;
#endif
}

int cs_cpu_has_avx2(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}
