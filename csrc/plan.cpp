#include "plan.h"

#include <algorithm>
#include <numeric>

namespace scanline {

// A group's states and one step's gates should stay in a core's second-level cache beside the weights; where
// the weights do not fit it anyway, more rows make more of each time that they are fetched.
constexpr int64_t group_rows = 64, many_group_rows = 128, weights_in_cache = 1 << 17;

int64_t choose_groups(const scanline_layer &layer) {
  const int64_t weights = 4 * layer.units * (layer.features + layer.units);
  const int64_t most = weights > weights_in_cache ? many_group_rows : group_rows;
  const int64_t lanes = std::min<int64_t>(layer.threads, layer.sequences);
  const int64_t rounds = (layer.sequences + lanes * most - 1) / (lanes * most);
  return std::min(layer.sequences, lanes * rounds);
}

Plan::Plan(const scanline_layer &layer, int64_t count) {
  const int64_t n = layer.sequences;
  order.resize(n);
  lengths.resize(n);
  std::iota(order.begin(), order.end(), 0);
  if (layer.lengths)
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return layer.lengths[a] > layer.lengths[b]; });
  const bool dealt = layer.lengths && count <= layer.threads;
  if (dealt) {  // like cards, longest first, so that every thread gets as much of each length
    std::vector<int64_t> hands;
    for (int64_t g = 0; g < count; ++g)
      for (int64_t k = g; k < n; k += count) hands.push_back(order[k]);
    order.swap(hands);
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
  // Each group to the lane that has least to do; they come longest first.
  lanes.resize(std::min<int64_t>(layer.threads, count));
  std::vector<int64_t> load(lanes.size(), 0);
  for (int64_t g = 0; g < count; ++g) {
    const auto least = std::min_element(load.begin(), load.end()) - load.begin();
    lanes[least].push_back(g);
    load[least] += groups[g].steps;
  }
}

}  // namespace scanline
