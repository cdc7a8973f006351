// The kernels of this build, and which of them is in use.
#pragma once

#include "kernels/kernel.h"

namespace scanline {

bool known_precision(int precision);

// The index-th of the sets that this processor supports for a precision, best first; null past the last.
const KernelSet *nth_set(int precision, int index);

// The set in use: the chosen one, or else the best; null if the processor supports none.
const KernelSet *set_in_use(int precision);

// Use the set called `name` from now on, null for the best. Returns an enum scanline_code.
int choose_set(int precision, const char *name);

}  // namespace scanline
