// NEON (AArch64), float32 operands.
#include "driver/kernel_set.h"
#include "isa/neon.h"
#include "operand/float32.h"

namespace scanline {

extern const KernelSet neon_kernels;
constexpr KernelSet neon_kernels = kernel_set<Float32<Neon>>("neon");

}  // namespace scanline
