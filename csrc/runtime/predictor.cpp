#include "runtime/predictor.h"

#include <algorithm>
#include <cstring>

#include "kernels/registry.h"
#include "runtime/contention.h"
#include "runtime/pass.h"
#include "runtime/predictor_buffers.h"
#include "runtime/team_barrier.h"
#include "runtime/threads.h"

namespace scanline {
namespace {

constexpr int64_t head_lanes = 8;  // KernelSet::project

// As torch's maximum: NaN if either is.
float larger(float a, float b) { return b > a || b != b ? b : a; }

void wait_for_letter(bool (*ready)(const void *), const void *data) {
  wait_for_member([=] { return ready(data); });
}

// Where the members of a team meet: all of them, or those that compute one direction (every other one).
class Meeting {
 public:
  Meeting(const TeamBarrier &arrival, int64_t members, int64_t first) : arrival_(&arrival), of_(members), first_(first) {}

  // `member` among those of this meeting.
  Team team(int64_t member) {
    const auto wait = [](void *data, int64_t me) {
      auto *const meeting = static_cast<Meeting *>(data);
      meeting->barrier_.wait(me, meeting->members());
    };
    return {member, members(), wait, this};
  }

 private:
  int64_t members() const { return (arrival_->members() - first_ + of_ - 1) / of_; }

  StepBarrier barrier_;
  const TeamBarrier *const arrival_;
  const int64_t of_, first_;  // each `of`-th member from the first on
};

}  // namespace

struct Meetings {
  TeamBarrier arrival;
  Meeting all, directions[2];

  explicit Meetings(int64_t wanted)
      : arrival(wanted), all(arrival, 1, 0), directions{{arrival, 2, 0}, {arrival, 2, 1}} {}
};

bool valid_network(const scanline_network &n) {
  constexpr int64_t max_size = int64_t{1} << 31;
  if (!known_precision(n.precision) || n.cell < 0 || n.cell >= cell_count) return false;
  if (n.cell == SCANLINE_LSTM_PROJECTED) return false;
  if (n.layers < 1 || n.directions < 1 || n.directions > 2 || n.pooling < SCANLINE_LAST || n.pooling > SCANLINE_MAX)
    return false;
  for (const int64_t size : {n.features, n.units, n.outputs})
    if (size < 1 || size > max_size) return false;
  if (!n.shift || !n.scale || !n.weights || (n.head_weight == nullptr) != (n.head_bias == nullptr)) return false;
  if (!n.head_weight && n.outputs != n.directions * n.units) return false;
  for (int64_t k = 0; k < int64_t{n.layers} * n.directions; ++k)
    if (!n.weights[4 * k] || !n.weights[4 * k + 1]) return false;
  return true;
}

bool valid_prediction(const scanline_prediction &call) {
  if (call.sequences < 1 || call.threads < 1 || !call.lengths || !call.values || !call.outputs) return false;
  return std::all_of(call.lengths, call.lengths + call.sequences, [](int64_t length) { return length >= 1; });
}

bool Predictor::valid(const scanline_stream &call) const {
  if (directions_ != 1 || call.sequences < 1 || call.steps < 1 || call.threads < 1) return false;
  if (!call.values || !call.h || (!call.c && cell_ == SCANLINE_LSTM) || !call.counts || !call.outputs) return false;
  if (!call.pooled && (pooling_ == SCANLINE_MEAN || pooling_ == SCANLINE_MAX)) return false;
  return !call.lengths || std::all_of(call.lengths, call.lengths + call.sequences,
                                      [&](int64_t length) { return length >= 0 && length <= call.steps; });
}

Predictor::Predictor(const scanline_network &n, const KernelSet &set)
    : set_(set),
      kernel_(set.cells[n.cell]),
      cell_(n.cell),
      precision_(n.precision),
      pooling_(n.pooling),
      layers_(n.layers),
      directions_(n.directions),
      features_(n.features),
      units_(n.units),
      outputs_(n.outputs),
      head_columns_(round_up(n.outputs, head_lanes)),
      weights_(static_cast<size_t>(layers_ * directions_)) {
  const int64_t blocks = (units_ + kernel_.block_units - 1) / kernel_.block_units;
  const int64_t pooled = directions_ * units_, sums = blocks * kernel_.block_units * kernel_.sums;
  // Twice: to measure, and to assign.
  const auto lay_out = [&](void *memory) {
    Arena arena(memory);
    for (size_t k = 0; k < weights_.size(); ++k) {
      const int64_t width_of_k = width(static_cast<int64_t>(k) / directions_);
      weights_[k].packed = arena.take<unsigned char>(static_cast<int64_t>(kernel_.packed_bytes({width_of_k, units_, 0})));
      weights_[k].first_sums = arena.take<float>(sums);
    }
    shift_ = arena.take<float>(features_);
    scale_ = arena.take<float>(features_);
    if (!n.head_weight) return arena.bytes();
    head_ = arena.take<double>(pooled * head_columns_);
    head_bias_ = arena.take<double>(head_columns_);
    return arena.bytes();
  };
  memory_ = std::make_unique<Block>(lay_out(nullptr));
  lay_out(memory_->get());
  for (size_t k = 0; k < weights_.size(); ++k) {
    scanline_layer layer{};
    layer.features = width(static_cast<int64_t>(k) / directions_), layer.units = units_;
    layer.cell = cell_, layer.precision = precision_;
    layer.weight_ih = n.weights[4 * k], layer.weight_hh = n.weights[4 * k + 1];
    layer.bias_ih = n.weights[4 * k + 2], layer.bias_hh = n.weights[4 * k + 3];
    void *const packed = const_cast<void *>(weights_[k].packed);
    kernel_.pack(layer, packed, 0, blocks);
    kernel_.first_sums(layer.features, units_, packed, const_cast<float *>(weights_[k].first_sums));
  }
  std::copy_n(n.shift, features_, shift_);
  std::copy_n(n.scale, features_, scale_);
  for (int64_t m = 0; head_ && m < head_columns_; ++m) {
    head_bias_[m] = m < outputs_ ? n.head_bias[m] : 0.0;
    for (int64_t k = 0; k < pooled; ++k)
      head_[k * head_columns_ + m] = m < outputs_ ? n.head_weight[m * pooled + k] : 0.0;
  }
  digest_ = digest_of(n);
}

uint64_t Predictor::digest_of(const scanline_network &n) const {
  const int64_t gates = kernel_.gates;
  uint64_t all = 0;
  const auto add = [&](const float *numbers, int64_t count) {
    // An absent array counts, too: with the biases exchanged, one of them absent, a GRU computes something else.
    all = all * 0x9e3779b97f4a7c15u + (numbers ? set_.digest(numbers, count) : 0);
  };
  for (int64_t k = 0; k < layers_ * directions_; ++k) {
    add(n.weights[4 * k], gates * units_ * width(k / directions_));
    add(n.weights[4 * k + 1], gates * units_ * units_);
    add(n.weights[4 * k + 2], gates * units_);
    add(n.weights[4 * k + 3], gates * units_);
  }
  add(n.shift, features_), add(n.scale, features_);
  add(n.head_weight, outputs_ * directions_ * units_), add(n.head_bias, outputs_);
  return all;
}

bool Predictor::holds(const scanline_network &network) const { return digest_of(network) == digest_; }

int64_t Predictor::members(int threads) const {
  const int64_t blocks = (units_ + kernel_.block_units - 1) / kernel_.block_units;
  // On a busy machine a member without a core would hold up the others at every step.
  if (kernel_.packed_bytes({width(layers_ - 1), units_, 0}) < shared_weight_bytes || contended()) return 1;
  return std::min({int64_t{threads}, directions_ * blocks, max_members});
}

// (steps, F) as they were read.
void Predictor::normalise(const void *from, bool bytes, int64_t steps, float *to) const {
  const auto each_step = [&](const auto *values) {
    for (int64_t s = 0; s < steps; ++s, values += features_, to += features_)
      for (int64_t f = 0; f < features_; ++f) to[f] = (static_cast<float>(values[f]) - shift_[f]) / scale_[f];
  };
  bytes ? each_step(static_cast<const uint8_t *>(from)) : each_step(static_cast<const float *>(from));
}

void Predictor::project(const float *features, float *outputs) const {
  if (!head_)
    std::copy_n(features, outputs_, outputs);
  else
    set_.project(features, directions_ * units_, head_, head_bias_, head_columns_, outputs_, outputs);
}

// The outputs of the last layer: (steps, D H), or (D H,) at the last step if not every step is kept.
const float *Predictor::read_layers(const Buffers &buffers, int64_t steps, States states, const Team &all,
                                    Meetings *meetings) const {
  const int64_t width_y = directions_ * units_;
  const float *x = buffers.x;
  for (int64_t layer = 0; layer < layers_; ++layer) {
    float *const y = buffers.y[layer % 2];
    const bool keeps = buffers.every_step || layer < layers_ - 1;
    for (int64_t d = 0; d < directions_; ++d) {
      Team team = all;
      if (directions_ == 2 && all.members > 1) {
        if (all.member % 2 != d) continue;
        team = meetings->directions[d].team(all.member / 2);
      }
      const int64_t first = d == 0 ? 0 : steps - 1, sign = d == 0 ? 1 : -1;
      Row row{};
      row.features = width(layer), row.units = units_, row.steps = steps;
      row.x = x + first * row.features, row.x_step = sign * row.features;
      row.packed = weights(layer, d).packed, row.first_sums = weights(layer, d).first_sums;
      row.y = y + d * units_ + (keeps ? first * width_y : 0), row.y_step = keeps ? sign * width_y : 0;
      if (states.h) row.h0 = states.h + layer * states.stride;
      if (states.c) row.c0 = row.cn = states.c + layer * states.stride;
      row.first_step = layer * steps, row.wait = wait_for_letter;
      kernel_.row(row, buffers.kernel[d], team);
    }
    if (directions_ == 2) all.wait(all.data, all.member);
    if (states.h && all.member == 0)
      std::memcpy(states.h + layer * states.stride, y + (keeps ? (steps - 1) * width_y : 0),
                  static_cast<size_t>(units_) * sizeof(float));
    x = y;
  }
  return x;
}

// One sequence, on several threads where that is faster. `prepare` fills buffers.x.
template <class Prepare>
const float *Predictor::read_one(const Buffers &buffers, int64_t steps, States states, int threads,
                                 const Prepare &prepare) const {
  const int64_t wanted = members(threads);
  if (wanted == 1) {
    prepare();
    return read_layers(buffers, steps, states, alone, nullptr);
  }
  Meetings meetings(wanted);
  const float *y = nullptr;
  for (void *const memory : buffers.kernel) std::memset(memory, 0, kernel_.row_scratch_bytes(buffers.widest, units_));
  parallel_for(wanted, threads, [&](int64_t k) {
    if (k == 0) prepare();  // while the other threads wake up
    const int64_t member = meetings.arrival.enter(k == 0);
    if (member < 0) return;
    const float *const outputs = read_layers(buffers, steps, states, meetings.all.team(member), &meetings);
    if (member == 0) y = outputs;
  });
  return y;
}

// One vector (D H,) from the outputs y of all steps, or of the last one if the others are not needed.
void Predictor::pool(const Buffers &buffers, const float *y, int64_t steps, float *to) const {
  const int64_t n = directions_ * units_;
  if (pooling_ == SCANLINE_MEAN) {
    std::fill_n(buffers.sums, n, 0.0);
    for (int64_t s = 0; s < steps; ++s)
      for (int64_t k = 0; k < n; ++k) buffers.sums[k] += y[s * n + k];
    for (int64_t k = 0; k < n; ++k) to[k] = static_cast<float>(buffers.sums[k] / static_cast<double>(steps));
  } else if (pooling_ == SCANLINE_MAX) {
    std::copy_n(y, n, to);
    for (int64_t s = 1; s < steps; ++s)
      for (int64_t k = 0; k < n; ++k) to[k] = larger(to[k], y[s * n + k]);
  } else {
    std::copy_n(y + (steps - 1) * n, n, to);
  }
}

// The vector for a stream up to the step with outputs y, (H,). `pooled`: the sequence's state.
const float *Predictor::pool_step(const float *y, void *pooled, int64_t count, float *to) const {
  if (pooling_ == SCANLINE_MEAN) {
    auto *const sums = static_cast<double *>(pooled);
    for (int64_t k = 0; k < units_; ++k) {
      sums[k] += y[k];
      to[k] = static_cast<float>(sums[k] / static_cast<double>(count));
    }
    return to;
  }
  if (pooling_ != SCANLINE_MAX) return y;
  auto *const maxima = static_cast<float *>(pooled);
  for (int64_t k = 0; k < units_; ++k) maxima[k] = larger(maxima[k], y[k]);
  return maxima;
}

void Predictor::predict(const scanline_prediction &call) const {
  call.sequences == 1 ? predict_one(call) : predict_many(call);
}

void Predictor::predict_one(const scanline_prediction &call) const {
  const int64_t steps = call.lengths[0];
  const bool every_step = pooling_ != SCANLINE_LAST;
  Loan memory(scratch_, Buffers(nullptr, *this, 1, steps, every_step).bytes);
  const Buffers buffers(memory.get(), *this, 1, steps, every_step);
  const float *const y = read_one(buffers, steps, {}, call.threads,
                                  [&] { normalise(call.values, call.bytes, steps, buffers.x); });
  pool(buffers, y, every_step ? steps : 1, buffers.pooled);
  project(buffers.pooled, call.outputs);
}

void Predictor::stream(const scanline_stream &call) const {
  if (call.sequences > 1) return stream_many(call);
  const int64_t steps = call.lengths ? call.lengths[0] : call.steps;
  if (steps == 0) return;
  Loan memory(scratch_, Buffers(nullptr, *this, 1, steps, true).bytes);
  const Buffers buffers(memory.get(), *this, 1, steps, true);
  const auto prepare = [&] { normalise(call.values, false, steps, buffers.x); };
  // Waking threads takes longer than one step.
  const float *const y = read_one(buffers, steps, states_of(call), steps > 1 ? call.threads : 1, prepare);
  finish_stream(call, 0, steps, y, buffers);
}

// Without c, which `call` may have, if the cell has no such state.
Predictor::States Predictor::states_of(const scanline_stream &call) const {
  return {call.h, cell_ == SCANLINE_LSTM ? call.c : nullptr, call.sequences * units_};
}

// The outputs of the head after each step of sequence n.
void Predictor::finish_stream(const scanline_stream &call, int64_t n, int64_t steps, const float *y,
                              const Buffers &buffers) const {
  const size_t state = static_cast<size_t>(units_) * (pooling_ == SCANLINE_MEAN ? sizeof(double) : sizeof(float));
  void *const pooled = call.pooled ? static_cast<unsigned char *>(call.pooled) + static_cast<size_t>(n) * state : nullptr;
  for (int64_t s = 0; s < steps; ++s)
    project(pool_step(y + s * units_, pooled, ++call.counts[n], buffers.pooled),
            call.outputs + (n * call.steps + s) * outputs_);
}

}  // namespace scanline
