// A forward or backward pass over a batch, in one direction or both: plans groups, finds memory, packs weights and runs
// the kernel on threads.
#pragma once

#include <cstddef>

#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {

// Bytes at the start of a reserve that describe the forward pass that wrote it.
constexpr size_t reserve_header_bytes = 64;

// Calls that can be computed together: the directions of one layer.
constexpr int64_t max_directions = 2;

// From this size of the packed weights on, several threads compute one group together; below, waiting for each other
// costs more than it saves.
constexpr size_t shared_weight_bytes = 100 * 1024;

bool valid_layer(const scanline_layer &layer);
bool valid_projection(int cell, int64_t projection);
// Whether two layers may be the directions of one.
bool same_batch(const scanline_layer &a, const scanline_layer &b);

// Both return an enum scanline_code and may throw std::bad_alloc.
int forward_pass(const scanline_forward *calls, int64_t count);
int backward_pass(const scanline_backward *calls, int64_t count);

}  // namespace scanline
