// The forward pass of one group of sequences, from the first step to the last.
//
// Sequences of a group are sorted by length, longest first, so the sequences that still run at step s are the rows
// 0..count-1. Several threads may share a group (a team): each computes some blocks of units, and all meet after
// every step. Buffers:
//
//   rows[2]  operands [h | x] of every sequence; a step reads one and writes h into the other
//   states   [block of units][row][unit in block], float32
//   saved    for the backward pass, all steps one after the other: values [block][row][value][unit in block]
//            in Operand::Saved, then, after those of the last step, states [block][row][unit in block] that are not outputs
#pragma once

#include <cstdint>
#include <cstring>

#include "driver/forward_step.h"
#include "driver/sizes.h"
#include "driver/tile.h"
#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {
namespace {

// Bytes that one step of one sequence saves.
template <class Cell>
size_t saved_bytes(int64_t units) {
  const Sizes<Cell> z(0, units);
  const size_t values = z.saved * sizeof(typename Cell::Operand::Saved);
  return static_cast<size_t>(z.blocks) * (values + z.kept_states * z.units * sizeof(float));
}

template <class Cell>
struct ForwardScratch {
  uint32_t *rows[2];
  float *states;
  float *outputs;                   // used if the caller wants none
  float **output_of[max_members];  // each member's pointers to the rows' outputs
  size_t bytes;

  ForwardScratch(void *memory, const Sizes<Cell> &z, int64_t count) {
    Arena arena(memory);
    for (auto &each : rows) each = arena.take<uint32_t>(count * z.row_words);
    states = arena.take<float>(Cell::states * count * z.blocks * z.units);
    outputs = arena.take<float>(count * z.H);
    for (auto &each : output_of) each = arena.take<float *>(count);
    bytes = arena.bytes();
  }
};

template <class Cell>
size_t forward_scratch_bytes(int64_t features, int64_t units, int64_t count) {
  return ForwardScratch<Cell>(nullptr, Sizes<Cell>(features, units), count).bytes;
}

// One member's part of the forward pass of a group.
template <class Cell>
class ForwardPass {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  using Saved = typename Operand::Saved;

 public:
  ForwardPass(const scanline_forward &call, const Group &group, const void *packed, unsigned char *saved,
              void *scratch, const Team &team)
      : call_(call),
        layer_(call.layer),
        group_(group),
        team_(team),
        z_(layer_.features, layer_.units),
        scratch_(scratch, z_, group.count),
        outputs_(scratch_.output_of[team.member]),
        weights_(static_cast<const uint32_t *>(packed)),
        bias_(reinterpret_cast<const float *>(weights_ + z_.blocks * z_.words * z_.block)),
        first_block_(z_.blocks * team.member / team.members),
        end_block_(z_.blocks * (team.member + 1) / team.members),
        keeps_(saved != nullptr) {
    if (!keeps_) return;
    saved_ = reinterpret_cast<Saved *>(saved);
    saved_states_ = reinterpret_cast<float *>(saved_ + group.steps * z_.blocks * z_.saved);
  }

  void run() {
    if (team_.member == 0) {
      put_initial();
      put_inputs(0, group_.count);
    }
    team_.wait(team_.data, team_.member);
    ForwardStep<Cell> step{};
    step.states = scratch_.states;
    step.states_stride = group_.count * z_.units;
    step.outputs = outputs_;
    step.count = group_.count;
    for (int64_t s = 0; s < group_.lengths[0]; ++s) {
      while (group_.lengths[step.count - 1] <= s) --step.count;
      step.rows = scratch_.rows[s % 2];
      step.next_rows = scratch_.rows[(s + 1) % 2];
      const bool keeps_states = keeps_ && z_.kept_states;
      step.new_states = keeps_states ? saved_states_ : scratch_.states;
      step.new_states_stride = (keeps_states ? step.count : group_.count) * z_.units;
      step.saved = keeps_ ? saved_ : nullptr;
      find_outputs(s, step.count);
      compute(step);
      put_final(s, step);
      if (keeps_) {
        saved_ += step.count * z_.blocks * z_.saved;
        saved_states_ += z_.kept_states * step.count * z_.blocks * z_.units;
      }
      step.states = step.new_states;
      step.states_stride = step.new_states_stride;
      if (team_.member == 0) put_inputs(s + 1, step.count);
      team_.wait(team_.data, team_.member);
    }
    if (call_.y && team_.member == 0) clear_padding();
  }

 private:
  // h0 and the initial states; the results of sequences without steps.
  void put_initial() {
    for (uint32_t *rows : scratch_.rows) std::memset(rows, 0, static_cast<size_t>(group_.count * z_.row_words) * 4);
    const float *const initial = Cell::initial(layer_);
    for (int64_t r = 0; r < group_.count; ++r) {
      const int64_t n = group_.order[r];
      if (layer_.h0) Operand::convert(scratch_.rows[0] + r * z_.row_words, layer_.h0 + n * z_.H, z_.H);
      if (Cell::states)
        for (int64_t unit = 0; unit < z_.blocks * z_.units; unit += z_.width)
          Vector::store(scratch_.states + z_.place(group_.count * z_.units, r, unit),
                        initial ? load_partial<Vector>(initial + n * z_.H + unit, z_.real_units(unit)) : Vector::zero());
      if (group_.lengths[r] == 0) {
        float *const final = Cell::final(call_);
        for (int64_t u = n * z_.H; u < (n + 1) * z_.H; ++u) {
          call_.hn[u] = layer_.h0 ? layer_.h0[u] : 0.0f;
          if (final) final[u] = initial ? initial[u] : 0.0f;
        }
      }
    }
  }

  // The inputs of step s, into the rows that it will read.
  void put_inputs(int64_t s, int64_t count) {
    for (int64_t r = 0; r < count && group_.lengths[r] > s; ++r) {
      const int64_t t = time_of(layer_, group_.lengths[r], s);
      const float *x = layer_.x + group_.order[r] * layer_.x_sequence + t * layer_.x_step;
      Operand::convert(scratch_.rows[s % 2] + r * z_.row_words + z_.h_words, x, z_.F);
    }
  }

  void find_outputs(int64_t s, int64_t count) {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t n = group_.order[r], t = time_of(layer_, group_.lengths[r], s);
      outputs_[r] = call_.y ? call_.y + n * call_.y_sequence + t * call_.y_step : scratch_.outputs + r * z_.H;
    }
  }

  void compute(const ForwardStep<Cell> &step) {
    for (int64_t b = first_block_; b < end_block_; ++b)
      for_each_tile<Vector>(step.count, [&](auto tile, int64_t first) {
        forward_tile<Cell, decltype(tile)::value>(z_, step, weights_ + b * z_.words * z_.block, bias_ + b * z_.block,
                                                  b, first);
      });
  }

  // The results of the sequences whose last step is s.
  void put_final(int64_t s, const ForwardStep<Cell> &step) {
    const int64_t first = first_block_ * z_.units, end = smaller(end_block_ * z_.units, z_.H);
    float *const final = Cell::final(call_);
    for (int64_t r = step.count - 1; r >= 0 && group_.lengths[r] == s + 1; --r) {
      const int64_t n = group_.order[r];
      if (final)
        for (int64_t unit = first; unit < end; unit += z_.width)
          store_partial<Vector>(final + n * z_.H + unit,
                             Vector::load(step.new_states + z_.place(step.new_states_stride, r, unit)),
                             z_.real_units(unit));
      std::memcpy(call_.hn + n * z_.H + first, outputs_[r] + first, static_cast<size_t>(end - first) * sizeof(float));
    }
  }

  void clear_padding() {
    for (int64_t r = 0; r < group_.count; ++r)
      for (int64_t t = group_.lengths[r]; t < layer_.steps; ++t)
        std::memset(call_.y + group_.order[r] * call_.y_sequence + t * call_.y_step, 0,
                    static_cast<size_t>(z_.H) * sizeof(float));
  }

  const scanline_forward &call_;
  const scanline_layer &layer_;
  const Group &group_;
  const Team &team_;
  const Sizes<Cell> z_;
  const ForwardScratch<Cell> scratch_;
  float **const outputs_;
  const uint32_t *const weights_;
  const float *const bias_;
  const int64_t first_block_, end_block_;
  const bool keeps_;  // values for a backward pass
  Saved *saved_ = nullptr;
  float *saved_states_ = nullptr;  // both of the current step
};

template <class Cell>
void forward(const scanline_forward &call, const Group &group, const void *packed, unsigned char *saved,
             void *scratch, const Team &team) {
  ForwardPass<Cell>(call, group, packed, saved, scratch, team).run();
}

}  // namespace
}  // namespace scanline
