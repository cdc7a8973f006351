// How a batch is divided into groups of sequences, and the groups among threads.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernel.h"

namespace scanline {

// Groups and lanes (one a thread) depend on the shape, the lengths and the two numbers only, which a backward pass takes
// from its forward pass's reserve. They never depend on timing: the order of all summations is fixed before anything
// runs.
struct Plan {
  std::vector<int64_t> order, lengths;
  std::vector<Group> groups;
  std::vector<std::vector<int64_t>> lanes;  // each lane's groups

  Plan(const scanline_layer &layer, int64_t count, int64_t most_lanes);
};

// The number of groups that suits the threads and the caches. `lanes`: at most so many run at a time. `sums`: products
// a unit.
int64_t choose_groups(const scanline_layer &layer, int64_t lanes, int sums);

}  // namespace scanline
