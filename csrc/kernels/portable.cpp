// Plain C++ for every processor, float32 operands.
#include "driver/kernel_set.h"
#include "isa/portable.h"
#include "operand/float32.h"

namespace scanline {

extern const KernelSet portable_kernels;
constexpr KernelSet portable_kernels = kernel_set<Float32<Portable>>("portable");

}  // namespace scanline
