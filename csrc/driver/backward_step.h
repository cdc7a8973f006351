// One step of the backward pass, for one block of units: the gradient of the sums.
#pragma once

#include <cstdint>

#include "driver/sizes.h"
#include "driver/tile.h"
#include "driver/weight_gradient.h"

namespace scanline {
namespace {

template <class Cell>
struct BackwardStep {
  const typename Cell::Operand::Saved *saved;  // [block of units][row][value][unit in block]
  const float *states, *states_before;         // after and before the step
  int64_t states_before_stride;                // from block to block
  const float *dh;                             // from the step after
  float *dstates;
  int64_t dstates_stride, dh_stride;
  uint32_t *dsums;
  int64_t count;
  const float *const *h;  // each row's output of the step before
};

// The gradient of the sums of block b in one row. dy: of the row's output, or null.
template <class Cell>
inline void sums_gradient(const Sizes<Cell> &z, const BackwardStep<Cell> &step, const float *dy, int64_t b,
                          int64_t row, typename Cell::Operand::vector (&gradient)[Sizes<Cell>::vectors]) {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  using vector = typename Vector::type;
#pragma GCC unroll 4
  for (int u = 0; u < Cell::unit_vectors; ++u) {
    const int64_t offset = z.offset(u), unit = b * z.units + offset, n = z.real_units(unit);
    const int64_t place = row * z.units + offset;
    vector saved[Sizes<Cell>::saved_array], dsum[Cell::sums];
    if constexpr (Cell::saved > 0) {
      const auto *const from = step.saved + (b * step.count + row) * z.saved + offset;
#pragma GCC unroll 4
      for (int k = 0; k < Cell::saved; ++k) saved[k] = Operand::load_saved(from + k * z.units);
    }
    vector state = Vector::zero(), before = Vector::zero(), dstate = Vector::zero();
    float *const dstate_at = step.dstates + b * step.dstates_stride + place;
    if (Cell::states) {
      if (z.kept_states) {
        state = Vector::load(step.states + b * step.count * z.units + place);
        before = Vector::load(step.states_before + b * step.states_before_stride + place);
      } else {
        before = load_partial<Vector>(step.h[row] + unit, n);
      }
      dstate = Vector::load(dstate_at);
    }
    vector dh = Vector::load(step.dh + row * step.dh_stride + unit);
    if (dy) dh = Vector::add(dh, load_partial<Vector>(dy + unit, n));
    Cell::backward(saved, before, state, dh, dstate, dsum);
    if (Cell::states) Vector::store(dstate_at, dstate);
    if (n < z.width)
      for (int k = 0; k < Cell::sums; ++k) dsum[k] = Vector::keep_first(dsum[k], n);
#pragma GCC unroll 4
    for (int k = 0; k < Cell::sums; ++k) gradient[k * Cell::unit_vectors + u] = dsum[k];
  }
}

// The gradient of the sums of block b in every row: for the products with the weights and, if wanted, collected
// for the weights' gradient and added to the biases'.
template <class Cell>
SCANLINE_NOINLINE void sums_gradient_of_block(const Sizes<Cell> &z, const BackwardStep<Cell> &step,
                                              const float *const *dy, int64_t b, Collected<Cell> *collected,
                                              float *dbias) {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  using vector = typename Vector::type;
  constexpr int vectors = Sizes<Cell>::vectors;
  vector bias[vectors];
  for (int k = 0; k < vectors; ++k) bias[k] = dbias ? Vector::load(dbias + k * z.width) : Vector::zero();
  for (int64_t r = 0; r < step.count; r += Operand::per_word) {
    vector rows[Operand::per_word][vectors];
#pragma GCC unroll 2
    for (int64_t p = 0; p < Operand::per_word; ++p) {
      if (r + p < step.count) {
        sums_gradient(z, step, dy[r + p], b, r + p, rows[p]);
        Operand::put_row(step.dsums + (r + p) * z.sum_words + b * z.block / Operand::per_word, rows[p]);
        for (int k = 0; k < vectors; ++k) bias[k] = Vector::add(bias[k], rows[p][k]);
      } else {
        for (int k = 0; k < vectors; ++k) rows[p][k] = Vector::zero();
      }
    }
    if (collected) {
      const int64_t entry = collected->filled + r / Operand::per_word;
      Operand::put_rows(collected->dsums + (b * collected->capacity + entry) * z.block, rows);
    }
  }
  if (dbias)
    for (int k = 0; k < vectors; ++k) Vector::store(dbias + k * z.width, bias[k]);
}

}  // namespace
}  // namespace scanline
