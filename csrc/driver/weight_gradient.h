// The gradient of weights and biases, summed over steps and sequences.
//
// A product over many rows reads and writes the gradient less often than one per step would, so the sums' gradient
// and the rows [h | x] that belong to it are collected first. The summed axis is counted in entries: an entry is a
// row, or a pair of rows if a word holds two values.
//
// Each thread has a gradient of its own in the order of the products,
//
//     [block of units][h, then x][sum][unit in block], then the biases' [block of units][sum][unit in block]
//
// and `finish` adds them up in a fixed order and writes the caller's (sums * H, columns) matrices.
#pragma once

#include <cstdint>

#include "driver/sizes.h"
#include "driver/tile.h"
#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {
namespace {

constexpr int64_t collected_entries = 256;

// Room for at least one step.
template <class Operand>
int64_t capacity_for(int64_t count) {
  const int64_t step = round_up(count, Operand::per_word) / Operand::per_word;
  return step > collected_entries ? step : collected_entries;
}

template <class Cell>
struct Collected {
  uint32_t *dsums;  // [block of units][entry][sum][unit in block]
  uint32_t *rows;   // [entry][h | x], without padding between h and x
  int64_t row_words;
  int64_t capacity, filled;  // entries

  Collected(Arena &arena, const Sizes<Cell> &z, int64_t count)
      : row_words(round_up(z.F + z.R, 16)), capacity(capacity_for<typename Cell::Operand>(count)), filled(0) {
    dsums = arena.take<uint32_t>(z.blocks * capacity * z.block);
    rows = arena.take<uint32_t>(capacity * row_words);
  }
};

template <class Cell>
int64_t weight_gradient_size(const Sizes<Cell> &z) {
  return z.blocks * z.block * (z.R + z.F);
}

// With the biases'.
template <class Cell>
int64_t gradient_size(const Sizes<Cell> &z) {
  return weight_gradient_size(z) + z.blocks * z.block;
}

template <class Cell>
size_t gradient_bytes(const Shape &shape) {
  return static_cast<size_t>(gradient_size(Sizes<Cell>(shape))) * sizeof(float);
}

// `rows` values of [h | x] from `first` on. `columns`: those that have a product with these values.
template <class Cell, unsigned columns, int rows>
SCANLINE_NOINLINE void weight_tile(const Collected<Cell> &from, const uint32_t *dsums, int64_t first,
                                   float *gradient) {
  using Vector = typename Cell::Operand::Vector;
  constexpr int width = Vector::width, vectors = Sizes<Cell>::vectors, block = Sizes<Cell>::block;
  typename Vector::type sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      if (columns >> v & 1) sums[r][v] = Vector::load(gradient + r * block + v * width);
  multiply<typename Cell::Operand, columns>(sums, from.rows + first, 1, from.row_words, dsums, block, from.filled);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      if (columns >> v & 1) Vector::store(gradient + r * block + v * width, sums[r][v]);
}

// Collect the rows [h | x] of `count` sequences, whose sums' gradient is already there.
template <class Cell>
void collect_rows(const Sizes<Cell> &z, Collected<Cell> &collected, const float *const *h, const float *const *x,
                  int64_t count) {
  using Operand = typename Cell::Operand;
  for (int64_t r = 0; r < count; r += Operand::per_word) {
    const bool second = Operand::per_word == 2 && r + 1 < count;
    uint32_t *to = collected.rows + collected.filled++ * collected.row_words;
    Operand::convert_rows(to, h[r], second ? h[r + 1] : nullptr, z.R);
    Operand::convert_rows(to + z.R, x[r], second ? x[r + 1] : nullptr, z.F);
  }
}

// Add what has been collected to the gradient, and start anew.
template <class Cell>
void add_weight_gradient(const Sizes<Cell> &z, Collected<Cell> &from, float *gradient) {
  for (int64_t b = 0; b < z.blocks; ++b) {
    const uint32_t *dsums = from.dsums + b * from.capacity * z.block;
    float *part = gradient + b * (z.R + z.F) * z.block;
    constexpr unsigned of_h = columns_of<Cell>(Cell::hh_rows), of_x = columns_of<Cell>(Cell::ih_rows);
    for_each_tile<typename Cell::Operand::Vector>(of_h == of_x ? z.R + z.F : z.R, [&](auto tile, int64_t first) {
      weight_tile<Cell, of_h, decltype(tile)::value>(from, dsums, first, part + first * z.block);
    });
    if constexpr (of_h != of_x)
      for_each_tile<typename Cell::Operand::Vector>(z.F, [&](auto tile, int64_t first) {
        weight_tile<Cell, of_x, decltype(tile)::value>(from, dsums, z.R + first, part + (z.R + first) * z.block);
      });
  }
  from.filled = 0;
}

// Threads whose gradients are added up one after the other; the sums of such groups are added up afterwards. The rounding
// error grows with the depth of this tree, 8 + 8 additions for 64 threads, and the order depends on nothing but `parts`.
constexpr int64_t summed_together = 8;

template <class Vector>
typename Vector::type sum_of_group(const float *const *gradients, int64_t first, int64_t end, int64_t place) {
  typename Vector::type sum = Vector::load(gradients[first] + place);
  for (int64_t part = first + 1; part < end; ++part) sum = Vector::add(sum, Vector::load(gradients[part] + place));
  return sum;
}

// Add the gradients of `parts` threads, each from its value `start` on, into the caller's arrays, for the sums
// first <= b * Cell::sums + sum < end.
template <class Cell>
SCANLINE_INLINE void finish_from(const scanline_backward &call, const float *const *gradients, int64_t start,
                                 int64_t parts, int64_t first, int64_t end) {
  using Vector = typename Cell::Operand::Vector;
  using vector = typename Vector::type;
  constexpr int width = Vector::width;
  const scanline_layer &layer = call.layer;
  const Sizes<Cell> z(layer);
  const auto total = [&](int64_t place) {
    place += start;
    vector sum = sum_of_group<Vector>(gradients, 0, smaller(parts, summed_together), place);
    for (int64_t group = summed_together; group < parts; group += summed_together)
      sum = Vector::add(sum, sum_of_group<Vector>(gradients, group, smaller(parts, group + summed_together), place));
    return sum;
  };
  for (int64_t which = first * Cell::unit_vectors; which < end * Cell::unit_vectors; ++which) {
    const int64_t b = which / z.vectors, v = which % z.vectors, sum = v / Cell::unit_vectors;
    const int64_t unit = b * z.units + v % Cell::unit_vectors * width, units = z.real_units(unit);
    // Squares of width x width values are transposed: lanes become rows of the caller's matrix.
    const auto put = [&](int64_t from, int64_t count, int row_block, float *to) {
      for (int64_t k = 0; row_block >= 0 && k < count; k += width) {
        const int64_t real = smaller(width, count - k);
        vector values[width];
        for (int64_t j = 0; j < width; ++j)
          values[j] = j < real ? total((b * (z.R + z.F) + from + k + j) * z.block + v * width) : Vector::zero();
        Vector::transpose(values);
        for (int64_t u = 0; u < units; ++u)
          store_partial<Vector>(to + (row_block * z.H + unit + u) * count + k, values[u], real);
      }
    };
    put(0, z.R, Cell::hh_rows[sum], call.dweight_hh);
    put(z.R, z.F, Cell::ih_rows[sum], call.dweight_ih);
    const vector bias = total(weight_gradient_size(z) + b * z.block + v * width);
    const auto put_bias = [&](int row_block, float *to) {
      if (to && row_block >= 0) store_partial<Vector>(to + row_block * z.H + unit, bias, units);
    };
    put_bias(Cell::hh_rows[sum], call.dbias_hh);
    put_bias(Cell::ih_rows[sum], call.dbias_ih);
  }
}

template <class Cell>
void finish(const scanline_backward &call, const float *const *gradients, int64_t parts, int64_t first, int64_t end) {
  finish_from<Cell>(call, gradients, 0, parts, first, end);
}

}  // namespace
}  // namespace scanline
