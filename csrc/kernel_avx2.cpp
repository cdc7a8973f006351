// AVX2 with fused multiply-add, float32.
#include <immintrin.h>

#include <cstring>

#include "kernel.h"

namespace scanline {
namespace {
#include "vector_avx2.inc"
//
#include "operand_float32.inc"
constexpr int tile_rows = 3;
//
#include "activations.inc"
//
#include "common.inc"
//
#include "packing.inc"
//
#include "forward.inc"
//
#include "backward.inc"

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

//
#include "table.inc"
}  // namespace

extern const Kernel avx2_kernel;
const Kernel avx2_kernel = table("avx2");
}  // namespace scanline
