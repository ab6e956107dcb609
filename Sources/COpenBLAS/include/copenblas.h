// The one door to OpenBLAS. It is opened with dlopen so that the kernels can be chosen first:
// OpenBLAS reads OPENBLAS_CORETYPE when it is loaded and never again.
#pragma once
#include <stddef.h>

/// Loads OpenBLAS with the kernels named `core` ("HASWELL", "SKYLAKEX"), one thread.
/// Returns 0, or -1 with a sentence in `message`.
int cs_blas_open(const char *core, char *message, size_t message_size);

/// The kernels that OpenBLAS says it uses; NULL before `cs_blas_open`.
const char *cs_blas_core(void);

/// Row-major C(m,n) = A(m,k) B(k,n) + beta C; a flag of 1 says that the operand is stored transposed.
void cs_sgemm(int transpose_a, int transpose_b, int m, int n, int k, const float *a, int lda,
              const float *b, int ldb, float beta, float *c, int ldc);

/// 1 where the processor has the AVX-512 instructions that SkylakeX kernels use.
int cs_cpu_has_avx512(void);

/// 1 where the processor has AVX2 and FMA, the least that Coldstream's kernels need.
int cs_cpu_has_avx2(void);
