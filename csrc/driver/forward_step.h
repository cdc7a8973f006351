// One step of the forward pass, for one block of units: the product, and the cell's epilogue.
#pragma once

#include <cstdint>

#include "driver/sizes.h"
#include "driver/tile.h"
#include "kernels/kernel.h"

namespace scanline {
namespace {

template <class Cell>
struct ForwardStep {
  const uint32_t *rows;
  uint32_t *next_rows;
  const float *states;
  float *new_states;
  int64_t states_stride, new_states_stride;  // from block to block
  typename Cell::Operand::Saved *saved;      // or null
  float *const *outputs;                     // of each row
  int64_t count;
};

template <class Cell, int rows>
SCANLINE_INLINE void forward_product(typename Cell::Operand::vector (&sums)[rows][Sizes<Cell>::vectors],
                                     const Sizes<Cell> &z, const uint32_t *a, const uint32_t *weights) {
  using Operand = typename Cell::Operand;
  constexpr unsigned of_h = columns_of<Cell>(Cell::hh_rows), of_x = columns_of<Cell>(Cell::ih_rows);
  if constexpr (of_h == of_x) {
    multiply<Operand, of_h>(sums, a, z.row_words, 1, weights, z.block, z.words);
  } else {
    multiply<Operand, of_h>(sums, a, z.row_words, 1, weights, z.block, z.h_words);
    multiply<Operand, of_x>(sums, a + z.h_words, z.row_words, 1, weights + z.h_words * z.block, z.block,
                            z.words - z.h_words);
  }
}

// One step of block b for `rows` sequences from `first` on.
template <class Cell, int rows>
SCANLINE_NOINLINE void forward_tile(const Sizes<Cell> &z, const ForwardStep<Cell> &step, const uint32_t *weights,
                                    const float *bias, int64_t b, int64_t first) {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  using vector = typename Vector::type;
  constexpr int width = Vector::width;
  vector sums[rows][Sizes<Cell>::vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < z.vectors; ++v) sums[r][v] = Vector::load(bias + v * width);
  forward_product<Cell, rows>(sums, z, step.rows + first * z.row_words, weights);
#pragma GCC unroll 4
  for (int u = 0; u < Cell::unit_vectors; ++u) {
    const int64_t offset = z.offset(u), unit = b * z.units + offset, n = z.real_units(unit);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const int64_t row = first + r, place = row * z.units + offset;
      vector sum[Cell::sums], state = Vector::zero(), saved[Sizes<Cell>::saved_array];
#pragma GCC unroll 4
      for (int k = 0; k < Cell::sums; ++k) sum[k] = sums[r][k * Cell::unit_vectors + u];
      if (Cell::states) state = Vector::load(step.states + b * step.states_stride + place);
      const vector output = Cell::forward(sum, state, saved);
      if (Cell::states) Vector::store(step.new_states + b * step.new_states_stride + place, state);
      if (step.saved) {
        auto *const to = step.saved + (b * step.count + row) * z.saved + offset;
#pragma GCC unroll 4
        for (int k = 0; k < Cell::saved; ++k) Operand::save(to + k * z.units, saved[k]);
      }
      Operand::put(step.next_rows + row * z.row_words, unit, output, n);
      store_partial<Vector>(step.outputs[row] + unit, output, n);
    }
  }
}

// first <= value < end.
struct Interval {
  int64_t first, end;
};

// The blocks of units that a member of a team computes at every step.
template <class Cell>
struct MemberBlocks {
  const Sizes<Cell> z;
  const uint32_t *const weights;
  const float *const bias;
  const int64_t first, end;

  MemberBlocks(const Sizes<Cell> &sizes, const void *packed, const Team &team)
      : z(sizes),
        weights(static_cast<const uint32_t *>(packed)),
        bias(reinterpret_cast<const float *>(weights + z.blocks * z.words * z.block)),
        first(z.blocks * team.member / team.members),
        end(z.blocks * (team.member + 1) / team.members) {}

  // The units of these blocks that exist.
  Interval units() const { return {first * z.units, smaller(end * z.units, z.H)}; }

  void compute(const ForwardStep<Cell> &step) const {
    for (int64_t b = first; b < end; ++b)
      for_each_tile<typename Cell::Operand::Vector>(step.count, [&](auto tile, int64_t row) {
        forward_tile<Cell, decltype(tile)::value>(z, step, weights + b * z.words * z.block, bias + b * z.block, b, row);
      });
  }
};

}  // namespace
}  // namespace scanline
