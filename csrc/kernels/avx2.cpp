// AVX2 with fused multiply-add, float32 operands.
#include "driver/kernel_set.h"
#include "isa/avx2.h"
#include "operand/float32.h"

namespace scanline {

extern const KernelSet avx2_kernels;
constexpr KernelSet avx2_kernels = kernel_set<Float32<Avx2>>("avx2");

}  // namespace scanline
