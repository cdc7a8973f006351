#include "runtime/pass.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/registry.h"
#include "runtime/team_barrier.h"
#include "runtime/memory.h"
#include "runtime/plan.h"
#include "runtime/threads.h"

namespace scanline {
namespace {

// From this size of the packed weights on, several threads compute one group together; below, waiting for each other
// costs more than it saves.
constexpr size_t shared_weight_bytes = 100 * 1024;

struct Header {
  char kernel[24];
  int64_t sequences, steps, units, groups;
  int64_t cell;
};
static_assert(sizeof(Header) <= reserve_header_bytes, "the header must fit its place");

Header header_of(const KernelSet &set, CellIndex cell, const scanline_layer &l, int64_t groups) {
  Header header{};
  std::strncpy(header.kernel, set.name, sizeof header.kernel - 1);
  header.sequences = l.sequences, header.steps = l.steps, header.units = l.units;
  header.groups = groups;
  header.cell = cell;
  return header;
}

int64_t blocks_of(const Kernel &kernel, const scanline_layer &l) {
  return (l.units + kernel.block_units - 1) / kernel.block_units;
}

// Offsets of the lanes' memory within one allocation; the last element is its size. A lane's groups run one after the
// other in the same scratch memory. `own`: bytes that a lane needs in addition.
template <class Bytes>
std::vector<size_t> lane_starts(const Plan &plan, size_t own, const Bytes &scratch_bytes) {
  std::vector<size_t> starts(1, 0);
  for (const auto &lane : plan.lanes) {
    size_t scratch = 0;
    for (const int64_t g : lane) scratch = std::max(scratch, scratch_bytes(plan.groups[g].count));
    starts.push_back(starts.back() + own + scratch);
  }
  return starts;
}

// The weights of a forward pass: the caller's packed ones, or packed here.
struct PackedWeights {
  const Block own;
  const void *const packed;

  PackedWeights(const Kernel &kernel, const scanline_forward &call)
      : own(call.packed ? 0 : kernel.packed_bytes(call.layer.features, call.layer.units)),
        packed(call.packed ? call.packed : own.get()) {}
};

unsigned char *saved_of(const Kernel &kernel, const scanline_forward &call, const Group &group) {
  auto *const reserve = static_cast<unsigned char *>(call.reserve);
  return reserve ? reserve + reserve_header_bytes + group.saved * kernel.saved_bytes(call.layer.units) : nullptr;
}

// For a single group: up to `members` threads each compute some of its blocks of units.
void forward_shared(const Kernel &kernel, const scanline_forward &call, const Group &group, int64_t members) {
  const scanline_layer &l = call.layer;
  const int64_t blocks = blocks_of(kernel, l);
  const PackedWeights weights(kernel, call);
  const Block scratch(kernel.forward_scratch_bytes(l.features, l.units, group.count));
  TeamBarrier barrier(members);
  parallel_for(members, l.threads, [&](int64_t k) {
    const int64_t member = barrier.enter(k == 0);
    if (member < 0) return;
    const int64_t all = barrier.members();
    if (!call.packed) kernel.pack(l, weights.own.get(), blocks * member / all, blocks * (member + 1) / all);
    const auto wait = [](void *data, int64_t me) { static_cast<TeamBarrier *>(data)->wait(me); };
    kernel.forward(call, group, weights.packed, saved_of(kernel, call, group), scratch.get(),
                   {member, all, wait, &barrier});
  });
}

// Each lane computes its groups, one after the other, on one thread.
void forward_lanes(const Kernel &kernel, const scanline_forward &call, const Plan &plan) {
  const scanline_layer &l = call.layer;
  const PackedWeights weights(kernel, call);
  if (!call.packed) kernel.pack(l, weights.own.get(), 0, blocks_of(kernel, l));
  const std::vector<size_t> starts = lane_starts(
      plan, 0, [&](int64_t count) { return kernel.forward_scratch_bytes(l.features, l.units, count); });
  const Block memory(starts.back());
  parallel_for(static_cast<int64_t>(plan.lanes.size()), l.threads, [&](int64_t lane) {
    for (const int64_t g : plan.lanes[lane])
      kernel.forward(call, plan.groups[g], weights.packed, saved_of(kernel, call, plan.groups[g]),
                     memory.get() + starts[lane], {0, 1, [](void *, int64_t) {}, nullptr});
  });
}

void backward_lanes(const Kernel &kernel, const scanline_backward &call, const Plan &plan) {
  const scanline_layer &l = call.layer;
  const bool wants_weights = call.dweight_ih != nullptr;
  const auto *const saved = static_cast<const unsigned char *>(call.reserve) + reserve_header_bytes;
  const Block packed(kernel.packed_backward_bytes(l.features, l.units));
  kernel.pack_backward(l, call.dx != nullptr, packed.get());
  // A lane's memory is its gradient, then its scratch.
  const size_t gradient = wants_weights ? (kernel.gradient_bytes(l.features, l.units) + 63) / 64 * 64 : 0;
  const std::vector<size_t> starts = lane_starts(
      plan, gradient, [&](int64_t count) { return kernel.backward_scratch_bytes(l.features, l.units, count); });
  const Block memory(starts.back());
  std::vector<float *> gradients;
  for (size_t lane = 0; lane < plan.lanes.size(); ++lane)
    gradients.push_back(reinterpret_cast<float *>(memory.get() + starts[lane]));
  parallel_for(static_cast<int64_t>(plan.lanes.size()), l.threads, [&](int64_t lane) {
    std::memset(gradients[lane], 0, gradient);
    for (const int64_t g : plan.lanes[lane]) {
      const Group &group = plan.groups[g];
      kernel.backward(call, group, packed.get(), saved + group.saved * kernel.saved_bytes(l.units),
                      memory.get() + starts[lane] + gradient, wants_weights ? gradients[lane] : nullptr);
    }
  });
  if (!wants_weights) return;
  const int64_t sums = blocks_of(kernel, l) * kernel.sums, parts = std::min<int64_t>(l.threads, sums);
  parallel_for(parts, l.threads, [&](int64_t part) {
    kernel.finish(call, gradients.data(), static_cast<int64_t>(gradients.size()), sums * part / parts,
                  sums * (part + 1) / parts);
  });
}

}  // namespace

bool valid_layer(const scanline_layer &l) {
  constexpr int64_t max_size = int64_t{1} << 31;
  if (!known_precision(l.precision) || l.threads < 1 || !l.x || !l.weight_ih || !l.weight_hh) return false;
  for (const int64_t size : {l.sequences, l.steps, l.features, l.units})
    if (size < 1 || size > max_size) return false;
  if (l.lengths)
    for (int64_t n = 0; n < l.sequences; ++n)
      if (l.lengths[n] < 0 || l.lengths[n] > l.steps) return false;
  return true;
}

int forward_pass(CellIndex cell, const scanline_forward &call) {
  const scanline_layer &l = call.layer;
  const KernelSet *const set = set_in_use(l.precision);
  if (!set) return SCANLINE_NO_SUCH_KERNEL;
  const Kernel &kernel = set->cells[cell];
  const Plan plan(l, choose_groups(l, kernel.sums));
  if (call.reserve) {
    const Header header = header_of(*set, cell, l, static_cast<int64_t>(plan.groups.size()));
    std::memcpy(call.reserve, &header, sizeof header);
  }
  const int64_t members = std::min({int64_t{l.threads}, blocks_of(kernel, l), max_members});
  if (plan.groups.size() == 1 && members > 1 &&
      kernel.packed_bytes(l.features, l.units) >= shared_weight_bytes)
    forward_shared(kernel, call, plan.groups[0], members);
  else
    forward_lanes(kernel, call, plan);
  return SCANLINE_OK;
}

int backward_pass(CellIndex cell, const scanline_backward &call) {
  const scanline_layer &l = call.layer;
  const KernelSet *const set = set_in_use(l.precision);
  if (!set) return SCANLINE_NO_SUCH_KERNEL;
  Header header;
  std::memcpy(&header, call.reserve, sizeof header);
  const Header expected = header_of(*set, cell, l, header.groups);
  if (std::memcmp(&header, &expected, sizeof header) != 0 || header.groups < 1 || header.groups > l.sequences)
    return SCANLINE_BAD_RESERVE;
  backward_lanes(set->cells[cell], call, Plan(l, header.groups));
  return SCANLINE_OK;
}

}  // namespace scanline
