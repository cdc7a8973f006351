// Times the loops of driver/peak.h on several threads at once.
#pragma once

#include <cstdint>

#include "kernels/kernel.h"

namespace scanline {

// Both return the sum of the threads' rates, each in its fastest part of `seconds`: parts in which another process ran
// do not count. They may throw std::bad_alloc or std::system_error.

// Floating-point operations a second.
double multiply_add_rate(const KernelSet &set, int threads, double seconds);
// Bytes a second, when every thread reads its own `bytes` again and again.
double load_rate(const KernelSet &set, int threads, int64_t bytes, double seconds);

}  // namespace scanline
