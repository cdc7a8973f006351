// Plain C++ for every processor, float32.
#include <cmath>

#include <cstring>

#include "kernel.h"

namespace scanline {
namespace {
#include "vector_portable.inc"
//
#include "operand_float32.inc"
constexpr int tile_rows = 2;
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

extern const Kernel portable_kernel;
const Kernel portable_kernel = table("portable");
}  // namespace scanline
