// AVX-512 with its bfloat16 products.
#include <immintrin.h>

#include <cstring>

#include "kernel.h"

namespace scanline {
namespace {
#include "vector_avx512.inc"
//
#include "operand_bfloat16.inc"
constexpr int tile_rows = 6;
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

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16");
}

//
#include "table.inc"
}  // namespace

extern const Kernel avx512_bf16_kernel;
const Kernel avx512_bf16_kernel = table("avx512-bf16");
}  // namespace scanline
