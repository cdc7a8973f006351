// Predictions for several sequences: groups of similar lengths, shared out over the threads.
#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "runtime/plan.h"
#include "runtime/predictor.h"
#include "runtime/predictor_buffers.h"
#include "runtime/threads.h"

namespace scanline {
namespace {

// Numbers of the buffers of one group. Sequences that are longer than that are computed alone.
constexpr int64_t group_numbers = int64_t{1} << 23;

}  // namespace

// Computes groups of sequences of similar lengths on several threads: body(group, buffers).
template <class Body>
void Predictor::for_each_group(const scanline_layer &batch, bool every_step, const Body &body) const {
  const int64_t width_y = directions_ * units_;
  const int64_t numbers = batch.steps * (features_ + (every_step || layers_ > 1 ? 2 * width_y : 0));
  const int64_t rows = std::max<int64_t>(1, group_numbers / numbers);
  const int64_t most_lanes = std::min<int64_t>(batch.threads, batch.sequences);
  const int64_t groups = choose_groups(batch, most_lanes, kernel_.sums);
  const Plan plan(batch, std::max(groups, (batch.sequences + rows - 1) / rows), most_lanes);
  size_t lane = 0;
  for (const Group &group : plan.groups)
    lane = std::max(lane, Buffers(nullptr, *this, group.count, group.lengths[0], every_step).bytes);
  const int64_t lanes = static_cast<int64_t>(plan.lanes.size());
  Loan memory(scratch_, lane * static_cast<size_t>(lanes));
  std::atomic<size_t> next{0};
  parallel_for(lanes, batch.threads, [&](int64_t k) {
    for (size_t g; (g = next.fetch_add(1, std::memory_order_relaxed)) < plan.groups.size();) {
      const Group &group = plan.groups[g];
      if (group.lengths[0] == 0) continue;
      body(group, Buffers(memory.get() + static_cast<size_t>(k) * lane, *this, group.count, group.lengths[0], every_step));
    }
  });
}

// The batch as the plan needs it.
scanline_layer Predictor::shape(int64_t sequences, int64_t steps, const int64_t *lengths, int threads) const {
  scanline_layer layer{};
  layer.sequences = sequences, layer.steps = steps, layer.lengths = lengths, layer.threads = threads;
  layer.features = width(layers_ - 1), layer.units = units_;
  return layer;
}

// Reads the rows of buffers.x. Returns the outputs of all steps of the last layer, (rows, steps, D H), or, if they are
// not kept, of the last ones, (rows, D H).
const float *Predictor::read_group(const Buffers &buffers, const Group &group, States states) const {
  const int64_t width_y = directions_ * units_;
  std::iota(buffers.order, buffers.order + group.count, 0);
  Group local = group;
  local.order = buffers.order;
  const float *x = buffers.x;
  for (int64_t layer = 0; layer < layers_; ++layer) {
    const bool keeps = buffers.every_step || layer < layers_ - 1;
    float *const y = buffers.y[layer % 2];
    for (int64_t d = 0; d < directions_; ++d) {
      scanline_forward call{};
      call.layer.sequences = group.count, call.layer.steps = buffers.steps;
      call.layer.features = width(layer), call.layer.units = units_;
      call.layer.reverse = static_cast<int32_t>(d), call.layer.precision = precision_, call.layer.threads = 1;
      call.layer.x = x, call.layer.x_step = width(layer), call.layer.x_sequence = buffers.steps * width(layer);
      call.packed = weights(layer, d).packed;
      if (keeps) call.y = y + d * units_;
      call.y_step = width_y, call.y_sequence = buffers.steps * width_y;
      call.hn = buffers.hn, call.cn = buffers.cn;
      if (states.h) call.layer.h0 = gather(states.h + layer * states.stride, group, buffers.h0);
      if (states.c) call.layer.c0 = gather(states.c + layer * states.stride, group, buffers.c0);
      kernel_.forward(call, local, call.packed, nullptr, buffers.kernel[d], alone);
      if (states.h) scatter(buffers.hn, group, states.h + layer * states.stride);
      if (states.c) scatter(buffers.cn, group, states.c + layer * states.stride);
      if (!keeps)
        for (int64_t r = 0; r < group.count; ++r)
          std::copy_n(buffers.hn + r * units_, units_, buffers.pooled + r * width_y + d * units_);
    }
    x = y;
  }
  return buffers.every_step ? x : buffers.pooled;
}

const float *Predictor::gather(const float *from, const Group &group, float *to) const {
  for (int64_t r = 0; r < group.count; ++r) std::copy_n(from + group.order[r] * units_, units_, to + r * units_);
  return to;
}

void Predictor::scatter(const float *from, const Group &group, float *to) const {
  for (int64_t r = 0; r < group.count; ++r) std::copy_n(from + r * units_, units_, to + group.order[r] * units_);
}

void Predictor::predict_many(const scanline_prediction &call) const {
  const int64_t n = call.sequences, longest = *std::max_element(call.lengths, call.lengths + n);
  const bool uniform = *std::min_element(call.lengths, call.lengths + n) == longest;
  const bool every_step = pooling_ != SCANLINE_LAST;
  std::vector<int64_t> starts(static_cast<size_t>(n), 0);
  for (int64_t k = 1; k < n; ++k) starts[k] = starts[k - 1] + call.lengths[k - 1];
  const auto values_of = [&](int64_t k) {
    const int64_t first = starts[k] * features_;
    return static_cast<const unsigned char *>(call.values) + first * (call.bytes ? 1 : sizeof(float));
  };
  const scanline_layer batch = shape(n, longest, uniform ? nullptr : call.lengths, call.threads);
  for_each_group(batch, every_step, [&](const Group &group, const Buffers &buffers) {
    for (int64_t r = 0; r < group.count; ++r)
      normalise(values_of(group.order[r]), call.bytes, group.lengths[r],
                buffers.x + r * buffers.steps * features_);
    const float *const y = group.count == 1 ? read_layers(buffers, group.lengths[0], {}, alone, nullptr)
                                            : read_group(buffers, group, {});
    const int64_t row = directions_ * units_ * (every_step ? buffers.steps : 1);
    for (int64_t r = 0; r < group.count; ++r) {
      const float *features = y + r * row;
      if (every_step) {
        pool(buffers, features, group.lengths[r], buffers.pooled);
        features = buffers.pooled;
      }
      project(features, call.outputs + group.order[r] * outputs_);
    }
  });
}

void Predictor::stream_many(const scanline_stream &call) const {
  const scanline_layer batch = shape(call.sequences, call.steps, call.lengths, call.threads);
  const States states = states_of(call);
  for_each_group(batch, true, [&](const Group &group, const Buffers &buffers) {
    for (int64_t r = 0; r < group.count; ++r)
      normalise(call.values + group.order[r] * call.steps * features_, false, group.lengths[r],
                buffers.x + r * buffers.steps * features_);
    const float *const y = read_group(buffers, group, states);
    for (int64_t r = 0; r < group.count; ++r)
      finish_stream(call, group.order[r], group.lengths[r], y + r * buffers.steps * units_, buffers);
  });
}

}  // namespace scanline
