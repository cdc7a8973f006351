// AVX-512, float32 operands.
#include "driver/kernel_set.h"
#include "isa/avx512.h"
#include "operand/float32.h"

namespace scanline {

extern const KernelSet avx512_kernels;
constexpr KernelSet avx512_kernels = kernel_set<Float32<Avx512>>("avx512");

}  // namespace scanline
