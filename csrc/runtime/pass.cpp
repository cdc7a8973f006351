#include "runtime/pass.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "kernels/registry.h"
#include "runtime/contention.h"
#include "runtime/team_barrier.h"
#include "runtime/memory.h"
#include "runtime/plan.h"
#include "runtime/threads.h"

namespace scanline {
namespace {

constexpr int64_t max_size = int64_t{1} << 31;

struct Header {
  char kernel[16];
  int64_t sequences, steps, units;
  int64_t groups, lanes;  // of the plan
  uint32_t cell, projection;
};
static_assert(sizeof(Header) <= reserve_header_bytes, "the header must fit its place");

Header header_of(const KernelSet &set, const scanline_layer &l, int64_t groups, int64_t lanes) {
  Header header{};
  std::strncpy(header.kernel, set.name, sizeof header.kernel - 1);
  header.sequences = l.sequences, header.steps = l.steps, header.units = l.units;
  header.groups = groups, header.lanes = lanes;
  header.cell = static_cast<uint32_t>(l.cell), header.projection = static_cast<uint32_t>(l.projection);
  return header;
}

// Fewer sequences a lane make too little use of every read of the weights.
constexpr int64_t lane_rows = 8;

// The lanes of each direction. Small batches have fewer, such that all directions' lanes divide evenly among the
// threads. Gradients are added up by lanes, so another choice would change the last bits of every training.
int64_t lanes_of(const scanline_layer &l, int64_t directions) {
  const int64_t threads = l.threads;
  return threads % directions == 0 && l.sequences < lane_rows * threads ? threads / directions : threads;
}

Shape shape_of(const scanline_layer &l) { return {l.features, l.units, l.projection}; }

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
      : own(call.packed ? 0 : kernel.packed_bytes(shape_of(call.layer))),
        packed(call.packed ? call.packed : own.get()) {}
};

unsigned char *saved_of(const Kernel &kernel, const scanline_forward &call, const Group &group) {
  auto *const reserve = static_cast<unsigned char *>(call.reserve);
  return reserve ? reserve + reserve_header_bytes + group.saved * kernel.saved_bytes(call.layer.units) : nullptr;
}

// A single group of one direction, whose blocks of units are divided among threads.
struct SharedGroup {
  const PackedWeights weights;
  const Block scratch;
  TeamBarrier barrier;

  SharedGroup(const Kernel &kernel, const scanline_forward &call, const Group &group, int64_t members)
      : weights(kernel, call),
        scratch(kernel.forward_scratch_bytes(shape_of(call.layer), group.count)),
        barrier(members) {}
};

// Up to `members` threads compute each direction.
void forward_shared(const Kernel &kernel, const scanline_forward *calls, int64_t count, const Group &group,
                    int64_t members) {
  const scanline_layer &l = calls[0].layer;
  const int64_t blocks = blocks_of(kernel, l);
  std::deque<SharedGroup> shared;
  for (int64_t k = 0; k < count; ++k) shared.emplace_back(kernel, calls[k], group, members);
  parallel_for(count * members, l.threads, [&](int64_t task) {
    const scanline_forward &call = calls[task / members];
    SharedGroup &own = shared[task / members];
    const int64_t member = own.barrier.enter(task % members == 0);
    if (member < 0) return;
    const int64_t all = own.barrier.members();
    if (!call.packed)
      kernel.pack(call.layer, own.weights.own.get(), blocks * member / all, blocks * (member + 1) / all);
    const auto wait = [](void *data, int64_t me) { static_cast<TeamBarrier *>(data)->wait(me); };
    kernel.forward(call, group, own.weights.packed, saved_of(kernel, call, group), own.scratch.get(),
                   {member, all, wait, &own.barrier});
  });
}

// Each lane computes its groups, one after the other, on one thread.
void forward_lanes(const Kernel &kernel, const scanline_forward *calls, int64_t count, const Plan &plan) {
  const scanline_layer &l = calls[0].layer;
  const int64_t lanes = static_cast<int64_t>(plan.lanes.size()), blocks = blocks_of(kernel, l);
  std::deque<PackedWeights> weights;
  for (int64_t k = 0; k < count; ++k) weights.emplace_back(kernel, calls[k]);
  if (lanes > 1) {
    const int64_t parts = kernel.packed_bytes(shape_of(l)) < shared_weight_bytes ? 1 : l.threads;
    parallel_for(count * parts, l.threads, [&](int64_t task) {
      const int64_t part = task % parts, k = task / parts;
      if (!calls[k].packed)
        kernel.pack(calls[k].layer, weights[k].own.get(), blocks * part / parts, blocks * (part + 1) / parts);
    });
  }
  const std::vector<size_t> starts = lane_starts(
      plan, 0, [&](int64_t rows) { return kernel.forward_scratch_bytes(shape_of(l), rows); });
  const Block memory(count * starts.back());
  parallel_for(count * lanes, l.threads, [&](int64_t task) {
    const int64_t direction = task / lanes, lane = task % lanes;
    const scanline_forward &call = calls[direction];
    if (!call.packed && lanes == 1) kernel.pack(call.layer, weights[direction].own.get(), 0, blocks);
    for (const int64_t g : plan.lanes[lane])
      kernel.forward(call, plan.groups[g], weights[direction].packed, saved_of(kernel, call, plan.groups[g]),
                     memory.get() + direction * starts.back() + starts[lane],
                     {0, 1, [](void *, int64_t) {}, nullptr});
  });
}

// Add the second direction's gradient of x, (N, T, F) contiguous, to the first's.
void add_input_gradient(const scanline_backward &call, const float *second) {
  const scanline_layer &l = call.layer;
  parallel_for(l.sequences, l.threads, [&](int64_t n) {
    for (int64_t t = 0; t < l.steps; ++t) {
      float *const to = call.dx + n * call.dx_sequence + t * call.dx_step;
      const float *const from = second + (n * l.steps + t) * l.features;
      for (int64_t k = 0; k < l.features; ++k) to[k] += from[k];
    }
  });
}

// What one direction of a backward pass needs: its weights, and for each lane its gradient, then its scratch.
struct Direction {
  const Block packed, memory;
  std::vector<float *> gradients;

  Direction(const Kernel &kernel, const scanline_layer &l, const std::vector<size_t> &starts)
      : packed(kernel.packed_backward_bytes(shape_of(l))), memory(starts.back()) {
    for (size_t lane = 0; lane + 1 < starts.size(); ++lane)
      gradients.push_back(reinterpret_cast<float *>(memory.get() + starts[lane]));
  }
};

void backward_lanes(const Kernel &kernel, const scanline_backward *calls, int64_t count, const Plan &plan) {
  const scanline_layer &l = calls[0].layer;
  const int64_t lanes = static_cast<int64_t>(plan.lanes.size());
  // A lane has a gradient whether or not a direction's weights want one: they differ in rare cases only.
  const bool wants_weights = std::any_of(calls, calls + count, [](const auto &call) { return call.dweight_ih; });
  const size_t gradient = wants_weights ? (kernel.gradient_bytes(shape_of(l)) + 63) / 64 * 64 : 0;
  const std::vector<size_t> starts = lane_starts(
      plan, gradient, [&](int64_t rows) { return kernel.backward_scratch_bytes(shape_of(l), rows); });
  std::deque<Direction> directions;
  for (int64_t k = 0; k < count; ++k) {
    directions.emplace_back(kernel, l, starts);
    if (lanes > 1) kernel.pack_backward(calls[k].layer, calls[k].dx != nullptr, directions[k].packed.get());
  }
  parallel_for(count * lanes, l.threads, [&](int64_t task) {
    const int64_t lane = task % lanes;
    const scanline_backward &call = calls[task / lanes];
    const Direction &own = directions[task / lanes];
    float *const weights = call.dweight_ih ? own.gradients[lane] : nullptr;
    if (lanes == 1) kernel.pack_backward(call.layer, call.dx != nullptr, own.packed.get());
    if (weights) std::memset(weights, 0, gradient);
    const auto *const saved = static_cast<const unsigned char *>(call.reserve) + reserve_header_bytes;
    for (const int64_t g : plan.lanes[lane]) {
      const Group &group = plan.groups[g];
      kernel.backward(call, group, own.packed.get(), saved + group.saved * kernel.saved_bytes(l.units),
                      own.memory.get() + starts[lane] + gradient, weights);
    }
  });
  if (!wants_weights) return;
  const int64_t sums = blocks_of(kernel, l) * kernel.sums, parts = std::min<int64_t>(l.threads, sums);
  parallel_for(count * parts, l.threads, [&](int64_t task) {
    const int64_t part = task % parts;
    const scanline_backward &call = calls[task / parts];
    if (call.dweight_ih)
      kernel.finish(call, directions[task / parts].gradients.data(), lanes, sums * part / parts,
                    sums * (part + 1) / parts);
  });
}

}  // namespace

bool valid_projection(int cell, int64_t projection) {
  return cell == SCANLINE_LSTM_PROJECTED ? projection >= 1 && projection < max_size : projection == 0;
}

bool valid_layer(const scanline_layer &l) {
  if (!valid_projection(l.cell, l.projection) || (l.weight_hr != nullptr) != (l.projection != 0)) return false;
  if (!known_precision(l.precision) || l.threads < 1 || !l.x || !l.weight_ih || !l.weight_hh) return false;
  for (const int64_t size : {l.sequences, l.steps, l.features, l.units})
    if (size < 1 || size > max_size) return false;
  if (l.lengths)
    for (int64_t n = 0; n < l.sequences; ++n)
      if (l.lengths[n] < 0 || l.lengths[n] > l.steps) return false;
  return true;
}

bool same_batch(const scanline_layer &a, const scanline_layer &b) {
  if (a.sequences != b.sequences || a.steps != b.steps || a.features != b.features || a.units != b.units ||
      a.projection != b.projection || a.cell != b.cell || a.precision != b.precision || a.threads != b.threads)
    return false;
  return a.lengths == b.lengths ||
         (a.lengths && b.lengths && std::equal(a.lengths, a.lengths + a.sequences, b.lengths));
}

int forward_pass(const scanline_forward *calls, int64_t count) {
  const scanline_layer &l = calls[0].layer;
  const KernelSet *const set = set_in_use(l.precision);
  if (!set) return SCANLINE_NO_SUCH_KERNEL;
  const Kernel &kernel = set->cells[l.cell];
  const int64_t lanes = lanes_of(l, count);
  const Plan plan(l, choose_groups(l, lanes, kernel.sums), lanes);
  for (int64_t k = 0; k < count; ++k) {
    if (!calls[k].reserve) continue;
    const Header header = header_of(*set, l, static_cast<int64_t>(plan.groups.size()), lanes);
    std::memcpy(calls[k].reserve, &header, sizeof header);
  }
  const int64_t members = std::min({lanes, blocks_of(kernel, l), max_members});
  // Not on a busy machine: the members wait for each other at every step, and one without a core holds up the others.
  if (plan.groups.size() == 1 && members > 1 &&
      kernel.packed_bytes(shape_of(l)) >= shared_weight_bytes && !contended())
    forward_shared(kernel, calls, count, plan.groups[0], members);
  else
    forward_lanes(kernel, calls, count, plan);
  return SCANLINE_OK;
}

int backward_pass(const scanline_backward *calls, int64_t count) {
  const scanline_layer &l = calls[0].layer;
  const KernelSet *const set = set_in_use(l.precision);
  if (!set) return SCANLINE_NO_SUCH_KERNEL;
  Header header;
  std::memcpy(&header, calls[0].reserve, sizeof header);
  const Header expected = header_of(*set, l, header.groups, header.lanes);
  for (int64_t k = 0; k < count; ++k)
    if (std::memcmp(calls[k].reserve, &expected, sizeof expected) != 0) return SCANLINE_BAD_RESERVE;
  if (header.groups < 1 || header.groups > l.sequences || header.lanes < 1) return SCANLINE_BAD_RESERVE;
  const Kernel &kernel = set->cells[l.cell];
  const Plan plan(l, header.groups, header.lanes);
  if (count == 1 || !calls[1].dx || calls[0].dx != calls[1].dx) {
    backward_lanes(kernel, calls, count, plan);
    return SCANLINE_OK;
  }
  // The directions run at the same time, so that each writes a gradient of its own.
  const Block second(static_cast<size_t>(l.sequences * l.steps * l.features) * sizeof(float));
  scanline_backward both[max_directions] = {calls[0], calls[1]};
  both[1].dx = reinterpret_cast<float *>(second.get());
  both[1].dx_sequence = l.steps * l.features;
  both[1].dx_step = l.features;
  backward_lanes(kernel, both, count, plan);
  add_input_gradient(calls[0], both[1].dx);
  return SCANLINE_OK;
}

}  // namespace scanline
