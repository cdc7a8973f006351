// A forward or backward pass over a batch: plans groups, finds memory, packs weights and runs the kernel on threads.
#pragma once

#include <cstddef>

#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {

// Bytes at the start of a reserve that describe the forward pass that wrote it.
constexpr size_t reserve_header_bytes = 64;

bool valid_layer(const scanline_layer &layer);

// Both return an enum scanline_code and may throw std::bad_alloc.
int forward_pass(CellIndex cell, const scanline_forward &call);
int backward_pass(CellIndex cell, const scanline_backward &call);

}  // namespace scanline
