// The backward pass of one group of sequences, from the last step to the first.
//
// For every step: the cell turns the gradient of h and of its state into that of the sums; its products with the
// weights give the gradient of the previous h and of x; for the weights' gradient it is collected. Buffers:
//
//   dh       [row][value of h]
//   dstates  [block of units][row][unit in block]
//   dsums    operands, [row][block of units][sum][unit in block]
#pragma once

#include <cstdint>
#include <cstring>

#include "driver/backward_step.h"
#include "driver/input_gradient.h"
#include "driver/packing.h"
#include "driver/projection.h"
#include "driver/sizes.h"
#include "driver/tile.h"
#include "driver/weight_gradient.h"
#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {
namespace {

template <class Cell, bool projected>
struct BackwardScratch {
  Arena arena;
  BackwardProjection<Cell, projected> projection;
  int64_t h_lanes;  // room for a row of dh
  float *dh, *dstates;
  uint32_t *dsums;
  Collected<Cell> collected;
  float *first_states;  // before the first step
  float *zeros;
  const float **dy, **x, **h;  // of each row at the current step; h is the output of the step before
  float **dx;

  BackwardScratch(void *memory, const Sizes<Cell> &z, int64_t count)
      : arena(memory),
        projection(arena, z, count),
        h_lanes(lanes_of_h(z)),
        dh(arena.take<float>(count * h_lanes)),
        dstates(arena.take<float>(Cell::states * count * z.blocks * z.units)),
        dsums(arena.take<uint32_t>(count * z.sum_words)),
        collected(arena, z, count),
        first_states(arena.take<float>(z.kept_states * count * z.blocks * z.units)),
        zeros(arena.take<float>(z.R)),
        dy(arena.take<const float *>(count)),
        x(arena.take<const float *>(count)),
        h(arena.take<const float *>(count)),
        dx(arena.take<float *>(count)) {}

 private:
  int64_t lanes_of_h(const Sizes<Cell> &z) const {
    if constexpr (projected) return projection.lanes;
    else return z.blocks * z.units;
  }
};

template <class Cell, bool projected>
size_t backward_scratch_bytes(const Shape &shape, int64_t count) {
  return BackwardScratch<Cell, projected>(nullptr, Sizes<Cell>(shape), count).arena.bytes();
}

template <class Cell, bool projected>
class BackwardPass {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  using Saved = typename Operand::Saved;
  static constexpr SumRange of_h = sums_of<Cell>(Cell::hh_rows), of_x = sums_of<Cell>(Cell::ih_rows);
  static_assert(adjacent<Cell>(Cell::hh_rows) && adjacent<Cell>(Cell::ih_rows), "such sums must be side by side");

 public:
  // `gradient`: gradient_bytes long, zeros or another group's; null: the weights' gradient is not wanted.
  BackwardPass(const scanline_backward &call, const Group &group, const void *packed, const unsigned char *saved,
               void *scratch, float *gradient)
      : call_(call),
        layer_(call.layer),
        group_(group),
        z_(layer_),
        lanes_(z_.blocks * z_.units),
        scratch_(scratch, z_, group.count),
        weights_hh_(static_cast<const uint32_t *>(packed)),
        weights_ih_(weights_hh_ + transposed_words(z_, of_h, z_.R)),
        saved_end_(reinterpret_cast<const Saved *>(saved) + group.steps * z_.blocks * z_.saved),
        gradient_(gradient),
        dbias_(gradient ? gradient + weight_gradient_size(z_) : nullptr) {
    std::memset(scratch_.zeros, 0, static_cast<size_t>(z_.R) * sizeof(float));
    if constexpr (projected) scratch_.projection.clear(group.count);
  }

  void run() {
    put_final_gradients();
    // Saved values were written step after step, so they are read from their end.
    const auto *const states_end = reinterpret_cast<const float *>(saved_end_) + z_.kept_states * group_.steps * lanes_;
    const float *saved_m = states_end + group_.steps * lanes_;
    const float *dh = scratch_.dh;
    if constexpr (projected) dh = scratch_.projection.dm;
    BackwardStep<Cell> step{saved_end_,
                            states_end,
                            nullptr,
                            0,
                            dh,
                            scratch_.dstates,
                            group_.count * z_.units,
                            lanes_,
                            scratch_.dsums,
                            0,
                            scratch_.h};
    for (int64_t s = group_.lengths[0] - 1; s >= 0; --s) {
      while (step.count < group_.count && group_.lengths[step.count] > s) ++step.count;
      step.saved -= step.count * z_.blocks * z_.saved;
      step.states -= z_.kept_states * step.count * lanes_;
      if (z_.kept_states) find_states_before(s, step);
      find_rows(s, step.count);
      if constexpr (projected) {
        saved_m -= step.count * lanes_;
        scratch_.projection.compute(weights_ih_ + transposed_words(z_, of_x, z_.F), scratch_.dh, scratch_.dy, saved_m,
                                    step.count, gradient_of_projection());
        compute(step, scratch_.projection.no_dy);
      } else {
        compute(step, scratch_.dy);
      }
    }
    if (gradient_) add_weight_gradient(z_, scratch_.collected, gradient_);
    if constexpr (projected)
      if (gradient_)
        add_weight_gradient(scratch_.projection.z, scratch_.projection.collected, gradient_of_projection());
    put_initial_gradients();
    if (call_.dx) clear_padding();
  }

 private:
  // The gradient of every sequence's final states, and the states before its first step.
  void put_final_gradients() {
    const float *const initial = Cell::initial(layer_), *const dfinal = Cell::final_gradient(call_);
    for (int64_t r = 0; r < group_.count; ++r) {
      const int64_t n = group_.order[r];
      float *const dh = scratch_.dh + r * scratch_.h_lanes;
      std::memset(dh, 0, static_cast<size_t>(scratch_.h_lanes) * sizeof(float));
      if (call_.dhn) std::memcpy(dh, call_.dhn + n * z_.R, static_cast<size_t>(z_.R) * sizeof(float));
      if (!Cell::states) continue;
      for (int64_t unit = 0; unit < lanes_; unit += z_.width) {
        const int64_t place = z_.place(group_.count * z_.units, r, unit), here = z_.real_units(unit);
        const auto load = [&](const float *from) {
          return from ? load_partial<Vector>(from + n * z_.H + unit, here) : Vector::zero();
        };
        Vector::store(scratch_.dstates + place, load(dfinal));
        if (z_.kept_states) Vector::store(scratch_.first_states + place, load(initial));
      }
    }
  }

  // The states before step s are those after step s - 1, which more sequences may have.
  void find_states_before(int64_t s, BackwardStep<Cell> &step) const {
    if (s == 0) {
      step.states_before = scratch_.first_states;
      step.states_before_stride = group_.count * z_.units;
      return;
    }
    int64_t count = step.count;
    while (count < group_.count && group_.lengths[count] > s - 1) ++count;
    step.states_before = step.states - Cell::states * count * lanes_;
    step.states_before_stride = count * z_.units;
  }

  void find_rows(int64_t s, int64_t count) {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t n = group_.order[r], t = time_of(layer_, group_.lengths[r], s);
      scratch_.dy[r] = call_.dy ? call_.dy + n * call_.dy_sequence + t * call_.dy_step : nullptr;
      scratch_.dx[r] = call_.dx ? call_.dx + n * call_.dx_sequence + t * call_.dx_step : nullptr;
      scratch_.x[r] = layer_.x + n * layer_.x_sequence + t * layer_.x_step;
      if (s > 0)
        scratch_.h[r] = call_.y + n * call_.y_sequence + time_of(layer_, group_.lengths[r], s - 1) * call_.y_step;
      else
        scratch_.h[r] = layer_.h0 ? layer_.h0 + n * z_.R : scratch_.zeros;
    }
  }

  float *gradient_of_projection() const { return gradient_ ? gradient_ + gradient_size(z_) : nullptr; }

  // dy: of each row's output, or null.
  void compute(const BackwardStep<Cell> &step, const float *const *dy) {
    Collected<Cell> &collected = scratch_.collected;
    const int64_t entries = round_up(step.count, Operand::per_word) / Operand::per_word;
    if (gradient_ && collected.filled + entries > collected.capacity) add_weight_gradient(z_, collected, gradient_);
    for (int64_t b = 0; b < z_.blocks; ++b)
      sums_gradient_of_block(z_, step, dy, b, gradient_ ? &collected : nullptr,
                             gradient_ ? dbias_ + b * z_.block : nullptr);
    if (gradient_) collect_rows(z_, collected, scratch_.h, scratch_.x, step.count);
    input_gradient<Cell, of_h.first, of_h.end>(z_, scratch_.dsums, weights_hh_, z_.R, step.count,
                                               [&](int64_t r) { return scratch_.dh + r * scratch_.h_lanes; });
    if (call_.dx)
      input_gradient<Cell, of_x.first, of_x.end>(z_, scratch_.dsums, weights_ih_, z_.F, step.count,
                                                 [&](int64_t r) { return scratch_.dx[r]; });
  }

  void put_initial_gradients() {
    float *const dinitial = Cell::initial_gradient(call_);
    for (int64_t r = 0; r < group_.count; ++r) {
      const int64_t n = group_.order[r];
      float *const dh = scratch_.dh + r * scratch_.h_lanes;
      for (int64_t unit = 0; Cell::states && unit < z_.H; unit += z_.width) {
        const auto dstate = Vector::load(scratch_.dstates + z_.place(group_.count * z_.units, r, unit));
        if (Cell::state_is_output) Vector::store(dh + unit, Vector::add(Vector::load(dh + unit), dstate));
        if (dinitial) store_partial<Vector>(dinitial + n * z_.H + unit, dstate, z_.real_units(unit));
      }
      if (call_.dh0) std::memcpy(call_.dh0 + n * z_.R, dh, static_cast<size_t>(z_.R) * sizeof(float));
    }
  }

  void clear_padding() {
    for (int64_t r = 0; r < group_.count; ++r)
      for (int64_t t = group_.lengths[r]; t < layer_.steps; ++t)
        std::memset(call_.dx + group_.order[r] * call_.dx_sequence + t * call_.dx_step, 0,
                    static_cast<size_t>(z_.F) * sizeof(float));
  }

  const scanline_backward &call_;
  const scanline_layer &layer_;
  const Group &group_;
  const Sizes<Cell> z_;
  const int64_t lanes_;  // units of all blocks, with those beyond H
  BackwardScratch<Cell, projected> scratch_;
  const uint32_t *const weights_hh_, *const weights_ih_;
  const Saved *const saved_end_;
  float *const gradient_, *const dbias_;
};

template <class Cell, bool projected>
void backward(const scanline_backward &call, const Group &group, const void *packed, const unsigned char *saved,
              void *scratch, float *gradient) {
  BackwardPass<Cell, projected>(call, group, packed, saved, scratch, gradient).run();
}

}  // namespace
}  // namespace scanline
