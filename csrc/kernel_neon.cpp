// NEON (AArch64), float32.
#include <arm_neon.h>

#include <cstring>

#include "kernel.h"

namespace scanline {
namespace {
#include "vector_neon.inc"
//
#include "operand_float32.inc"
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

bool supported() { return true; }

//
#include "table.inc"
}  // namespace

extern const Kernel neon_kernel;
const Kernel neon_kernel = table("neon");
}  // namespace scanline
