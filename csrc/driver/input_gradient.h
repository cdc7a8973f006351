// The gradient of h or x of one step: the gradient of the sums times the weights.
#pragma once

#include <cstdint>

#include "driver/sizes.h"
#include "driver/tile.h"

namespace scanline {
namespace {

// first <= sum < end: the sums that have a product with h or x. `out`: each row's first result, of which `lanes` exist.
template <class Cell, int first, int end, int rows, int vectors>
SCANLINE_NOINLINE void input_gradient_tile(const Sizes<Cell> &z, const uint32_t *dsums, const uint32_t *weights,
                                           float *const (&out)[Cell::Operand::Vector::tile_rows], int64_t lanes) {
  using Vector = typename Cell::Operand::Vector;
  constexpr int width = Vector::width;
  typename Vector::type sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sums[r][v] = Vector::zero();
  using Operand = typename Cell::Operand;
  if constexpr (first == 0 && end == Cell::sums) {
    multiply<Operand, all_columns>(sums, dsums, z.sum_words, 1, weights, vectors * width, z.sum_words);
  } else {
    constexpr int64_t words = z.units / Operand::per_word, some = words * (end - first);
    dsums += words * first;
    for (int64_t b = 0; b < z.blocks; ++b, dsums += words * Cell::sums, weights += some * vectors * width)
      multiply<Operand, all_columns>(sums, dsums, z.sum_words, 1, weights, vectors * width, some);
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      store_partial<Vector>(out[r] + v * width, sums[r][v], smaller(width, lanes - v * width));
}

// `dsums`: [row][word]. `weights`: from pack_transposed, of the sums first <= sum < end. `columns`: H or F.
// out_of(row): where the row's results go.
template <class Cell, int first_sum, int end_sum, class Out>
void input_gradient(const Sizes<Cell> &z, const uint32_t *dsums, const uint32_t *weights, int64_t columns,
                    int64_t count, const Out &out_of) {
  using Vector = typename Cell::Operand::Vector;
  constexpr int64_t width = Vector::width, group = tile_vectors * width;
  static_assert(tile_vectors == 4, "the switch has these cases");
  for (int64_t first = 0; first < columns; first += group) {
    const int64_t lanes = smaller(group, columns - first), vectors = (lanes + width - 1) / width;
    for_each_tile<Vector>(count, [&](auto tile, int64_t r) {
      constexpr int rows = decltype(tile)::value;
      float *out[Vector::tile_rows];
      for (int k = 0; k < rows; ++k) out[k] = out_of(r + k) + first;
      const uint32_t *a = dsums + r * z.sum_words;
      switch (vectors) {
        case 1: return input_gradient_tile<Cell, first_sum, end_sum, rows, 1>(z, a, weights, out, lanes);
        case 2: return input_gradient_tile<Cell, first_sum, end_sum, rows, 2>(z, a, weights, out, lanes);
        case 3: return input_gradient_tile<Cell, first_sum, end_sum, rows, 3>(z, a, weights, out, lanes);
        default: return input_gradient_tile<Cell, first_sum, end_sum, rows, 4>(z, a, weights, out, lanes);
      }
    });
    weights += z.sum_words / Cell::sums * (end_sum - first_sum) * vectors * width;
  }
}

}  // namespace
}  // namespace scanline
