// AVX-512 with bfloat16 operands.
#include "driver/kernel_set.h"
#include "operand/bfloat16.h"

namespace scanline {

extern const KernelSet avx512_bf16_kernels;
constexpr KernelSet avx512_bf16_kernels = kernel_set<Bfloat16>("avx512-bf16");

}  // namespace scanline
