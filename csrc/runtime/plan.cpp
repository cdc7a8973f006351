#include "runtime/plan.h"

#include <algorithm>
#include <numeric>

namespace scanline {
namespace {

// A group's states and the sums of one step should stay in a core's level-2 cache beside the weights. If the weights
// do not fit there, more rows make better use of every read of them.
constexpr int64_t group_rows = 64, many_group_rows = 128, weights_in_cache = 1 << 17;

}  // namespace

int64_t choose_groups(const scanline_layer &layer, int64_t lanes, int sums) {
  const int64_t width_of_h = layer.projection ? layer.projection : layer.units;
  const int64_t weights = sums * layer.units * (layer.features + width_of_h) + layer.projection * layer.units;
  const int64_t max_rows = weights > weights_in_cache ? many_group_rows : group_rows;
  lanes = std::min(lanes, layer.sequences);
  const int64_t rounds = (layer.sequences + lanes * max_rows - 1) / (lanes * max_rows);
  return std::min(layer.sequences, lanes * rounds);
}

Plan::Plan(const scanline_layer &layer, int64_t count, int64_t most_lanes) {
  const int64_t n = layer.sequences;
  order.resize(n);
  lengths.resize(n);
  std::iota(order.begin(), order.end(), 0);
  if (layer.lengths)
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return layer.lengths[a] > layer.lengths[b]; });
  if (layer.lengths && count <= most_lanes) {  // round-robin, so that every thread gets as much of each length
    std::vector<int64_t> dealt;
    for (int64_t g = 0; g < count; ++g)
      for (int64_t k = g; k < n; k += count) dealt.push_back(order[k]);
    order.swap(dealt);
  }
  for (int64_t k = 0; k < n; ++k) lengths[k] = layer.lengths ? layer.lengths[order[k]] : layer.steps;
  int64_t first = 0, saved = 0;
  for (int64_t g = 0; g < count; ++g) {
    const int64_t size = n / count + (g < n % count);
    const int64_t steps = std::accumulate(lengths.begin() + first, lengths.begin() + first + size, int64_t{0});
    groups.push_back({order.data() + first, lengths.data() + first, size, steps, saved});
    first += size;
    saved += steps;
  }
  // Longest groups first, each to the lane with the fewest steps.
  lanes.resize(std::min(most_lanes, count));
  std::vector<int64_t> load(lanes.size(), 0);
  for (int64_t g = 0; g < count; ++g) {
    const auto lane = std::min_element(load.begin(), load.end()) - load.begin();
    lanes[lane].push_back(g);
    load[lane] += groups[g].steps;
  }
}

}  // namespace scanline
