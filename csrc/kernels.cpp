// The kernels that this build holds, best first.
#include "kernel.h"

namespace scanline {

extern const Kernel avx512_bf16_kernel, avx512_kernel, avx2_kernel, neon_kernel, portable_kernel;

const Kernel *const kernels[] = {
#if defined(SCANLINE_AVX512_BF16)
    &avx512_bf16_kernel,
#endif
#if defined(SCANLINE_AVX512)
    &avx512_kernel,
#endif
#if defined(SCANLINE_AVX2)
    &avx2_kernel,
#endif
#if defined(SCANLINE_NEON)
    &neon_kernel,
#endif
    &portable_kernel, nullptr};

}  // namespace scanline
