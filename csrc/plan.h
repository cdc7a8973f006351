// Which sequences are read together, and by whom.
#pragma once

#include <cstdint>
#include <vector>

#include "kernel.h"

namespace scanline {

// Groups follow from the shape and the lengths; a backward pass is told how many its forward pass made, and so
// arrives at the same. The lanes follow from the groups and the number of threads, never from timing: what is
// summed in which order is settled before anything runs.
struct Plan {
  std::vector<int64_t> order, lengths;
  std::vector<Group> groups;
  std::vector<std::vector<int64_t>> lanes;  // each lane's groups

  Plan(const scanline_layer &layer, int64_t groups);
};

// As many groups as suit the threads and the caches.
int64_t choose_groups(const scanline_layer &layer);

}  // namespace scanline
