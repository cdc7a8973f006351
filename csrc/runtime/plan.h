// How a batch is divided into groups of sequences, and the groups among threads.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernel.h"

namespace scanline {

// Groups depend on the shape, the lengths and the number of groups only; a backward pass takes that number from its
// forward pass's reserve and so arrives at the same groups. Lanes (one a thread) depend on the groups and the number
// of threads, never on timing: the order of all summations is fixed before anything runs.
struct Plan {
  std::vector<int64_t> order, lengths;
  std::vector<Group> groups;
  std::vector<std::vector<int64_t>> lanes;  // each lane's groups

  Plan(const scanline_layer &layer, int64_t count);
};

// The number of groups that suits the threads and the caches. `sums`: products a unit.
int64_t choose_groups(const scanline_layer &layer, int sums);

}  // namespace scanline
