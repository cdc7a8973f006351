// The forward pass of one group of sequences, from the first step to the last.
//
// Sequences of a group are sorted by length, longest first, so the sequences that still run at step s are the rows
// 0..count-1. Several threads may share a group (a team): each computes some blocks of units, and all meet after
// every step. Buffers:
//
//   rows[2]  operands [h | x] of every sequence; a step reads one and writes h into the other
//   states   [block of units][row][unit in block], float32
//   saved    for the backward pass, all steps one after the other: values [block][row][value][unit in block]
//            in Operand::Saved, then, after those of the last step, states [block][row][unit in block] that are not outputs,
//            then, if they are projected, the cell's outputs [row][unit]
#pragma once

#include <cstdint>
#include <cstring>

#include "driver/forward_step.h"
#include "driver/projection.h"
#include "driver/sizes.h"
#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {
namespace {

// Bytes that one step of one sequence saves.
template <class Cell, bool projected>
size_t saved_bytes(int64_t units) {
  const Sizes<Cell> z(0, units);
  const size_t values = z.saved * sizeof(typename Cell::Operand::Saved);
  return static_cast<size_t>(z.blocks) * (values + (z.kept_states + projected) * z.units * sizeof(float));
}

template <class Cell, bool projected>
struct ForwardScratch {
  uint32_t *rows[2];
  float *states;
  float *outputs;                   // used if the caller wants none
  float **output_of[max_members];   // each member's pointers to the rows' outputs
  float *m;                         // the cell's outputs, if they are projected and the backward pass needs none
  float **m_of[max_members];        // each member's pointers to them
  size_t bytes;

  ForwardScratch(void *memory, const Sizes<Cell> &z, int64_t count) {
    Arena arena(memory);
    for (auto &each : rows) each = arena.take<uint32_t>(count * z.row_words);
    states = arena.take<float>(Cell::states * count * z.blocks * z.units);
    outputs = arena.take<float>(count * z.R);
    for (auto &each : output_of) each = arena.take<float *>(count);
    m = arena.take<float>(projected * count * z.blocks * z.units);
    for (auto &each : m_of) each = arena.take<float *>(projected * count);
    bytes = arena.bytes();
  }
};

template <class Cell, bool projected>
size_t forward_scratch_bytes(const Shape &shape, int64_t count) {
  return ForwardScratch<Cell, projected>(nullptr, Sizes<Cell>(shape), count).bytes;
}

// One member's part of the forward pass of a group.
template <class Cell, bool projected>
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
        z_(layer_),
        scratch_(scratch, z_, group.count),
        outputs_(scratch_.output_of[team.member]),
        blocks_(z_, packed, team),
        projection_(z_, packed, team),
        keeps_(saved != nullptr) {
    if (!keeps_) return;
    saved_ = reinterpret_cast<Saved *>(saved);
    saved_states_ = reinterpret_cast<float *>(saved_ + group.steps * z_.blocks * z_.saved);
    saved_m_ = saved_states_ + z_.kept_states * group.steps * z_.blocks * z_.units;
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
    step.outputs = projected ? scratch_.m_of[team_.member] : outputs_;
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
      if constexpr (projected) {
        find_m(step.count);
        step.next_rows += z_.outputs_at;
        blocks_.compute(step);
        team_.wait(team_.data, team_.member);
        projection_.compute(scratch_.rows[(s + 1) % 2], outputs_, step.count);
      } else {
        blocks_.compute(step);
      }
      put_final(s, step);
      if (keeps_) {
        saved_ += step.count * z_.blocks * z_.saved;
        saved_states_ += z_.kept_states * step.count * z_.blocks * z_.units;
        if (projected) saved_m_ += step.count * z_.blocks * z_.units;
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
      if (layer_.h0) Operand::convert(scratch_.rows[0] + r * z_.row_words, layer_.h0 + n * z_.R, z_.R);
      if (Cell::states)
        for (int64_t unit = 0; unit < z_.blocks * z_.units; unit += z_.width)
          Vector::store(scratch_.states + z_.place(group_.count * z_.units, r, unit),
                        initial ? load_partial<Vector>(initial + n * z_.H + unit, z_.real_units(unit)) : Vector::zero());
      if (group_.lengths[r] == 0) {
        float *const final = Cell::final(call_);
        for (int64_t u = n * z_.R; u < (n + 1) * z_.R; ++u) call_.hn[u] = layer_.h0 ? layer_.h0[u] : 0.0f;
        for (int64_t u = n * z_.H; final && u < (n + 1) * z_.H; ++u) final[u] = initial ? initial[u] : 0.0f;
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
      outputs_[r] = call_.y ? call_.y + n * call_.y_sequence + t * call_.y_step : scratch_.outputs + r * z_.R;
    }
  }

  void find_m(int64_t count) {
    const int64_t lanes = z_.blocks * z_.units;
    float *const m = keeps_ ? saved_m_ : scratch_.m;
    for (int64_t r = 0; r < count; ++r) {
      scratch_.m_of[team_.member][r] = m + r * lanes;
      // Equal calls write equal bytes to the reserve.
      if (team_.member == 0) std::memset(m + r * lanes + z_.H, 0, static_cast<size_t>(lanes - z_.H) * sizeof(float));
    }
  }

  // The values of h that this member computes, first <= value < end.
  Interval outputs_of_member() const {
    if constexpr (projected) return projection_.units();
    else return blocks_.units();
  }

  // The results of the sequences whose last step is s.
  void put_final(int64_t s, const ForwardStep<Cell> &step) {
    const auto [first, end] = outputs_of_member();
    float *const final = Cell::final(call_);
    for (int64_t r = step.count - 1; r >= 0 && group_.lengths[r] == s + 1; --r) {
      const int64_t n = group_.order[r];
      if (final)
        for (int64_t unit = blocks_.units().first; unit < blocks_.units().end; unit += z_.width)
          store_partial<Vector>(final + n * z_.H + unit,
                                Vector::load(step.new_states + z_.place(step.new_states_stride, r, unit)),
                                z_.real_units(unit));
      std::memcpy(call_.hn + n * z_.R + first, outputs_[r] + first, static_cast<size_t>(end - first) * sizeof(float));
    }
  }

  void clear_padding() {
    for (int64_t r = 0; r < group_.count; ++r)
      for (int64_t t = group_.lengths[r]; t < layer_.steps; ++t)
        std::memset(call_.y + group_.order[r] * call_.y_sequence + t * call_.y_step, 0,
                    static_cast<size_t>(z_.R) * sizeof(float));
  }

  const scanline_forward &call_;
  const scanline_layer &layer_;
  const Group &group_;
  const Team &team_;
  const Sizes<Cell> z_;
  const ForwardScratch<Cell, projected> scratch_;
  float **const outputs_;
  const MemberBlocks<Cell> blocks_;
  const ForwardProjection<Cell, projected> projection_;
  const bool keeps_;  // values for a backward pass
  Saved *saved_ = nullptr;
  float *saved_states_ = nullptr, *saved_m_ = nullptr;  // all of the current step
};

template <class Cell, bool projected>
void forward(const scanline_forward &call, const Group &group, const void *packed, unsigned char *saved,
             void *scratch, const Team &team) {
  ForwardPass<Cell, projected>(call, group, packed, saved, scratch, team).run();
}

}  // namespace
}  // namespace scanline
