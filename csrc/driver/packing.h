// Weights in the order in which the products read them.
#pragma once

#include <cstdint>

#include "driver/sizes.h"
#include "driver/tile.h"
#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {
namespace {

// Forward: [block of units][word of h, then of x][sum][unit in block], then in float32 the sum of both biases,
// [block of units][sum][unit in block].
template <class Cell>
int64_t packed_words(const Sizes<Cell> &z) {
  return z.blocks * z.block * (z.words + 1);
}

template <class Cell>
size_t packed_bytes(const Shape &shape) {
  return static_cast<size_t>(packed_words(Sizes<Cell>(shape))) * 4;
}

// The weights (rows, count) of up to `units` units from `row` on, as one vector of columns. Rows become lanes:
// squares of width x width words are transposed.
template <class Cell>
void pack_columns(const float *weights, int64_t row, int64_t units, int64_t count, uint32_t *to) {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  constexpr int width = Vector::width;
  for (int64_t k = 0; k < count; k += width * Operand::per_word) {
    typename Vector::type words[width];
    const float *const first = weights + row * count + k;
#pragma GCC unroll 16
    for (int u = 0; u < width; ++u)
      words[u] = u < units ? Operand::load_words(first + u * count, count - k) : Vector::zero();
    Vector::transpose(words);
    const int64_t real = smaller(width, (count - k + Operand::per_word - 1) / Operand::per_word);
    for (int64_t w = 0; w < real; ++w)
      Vector::store(reinterpret_cast<float *>(to + (k / Operand::per_word + w) * Sizes<Cell>::block), words[w]);
  }
}

// Pack the blocks of units first <= b < end.
template <class Cell>
void pack(const scanline_layer &layer, void *packed, int64_t first, int64_t end) {
  using Vector = typename Cell::Operand::Vector;
  const Sizes<Cell> z(layer);
  auto *to = static_cast<uint32_t *>(packed);
  auto *bias = reinterpret_cast<float *>(to + z.blocks * z.words * z.block);
  for (int64_t b = first; b < end; ++b) {
    for (int v = 0; v < z.vectors; ++v) {
      const int sum = v / Cell::unit_vectors, ih = Cell::ih_rows[sum], hh = Cell::hh_rows[sum];
      const int64_t unit = b * z.units + v % Cell::unit_vectors * z.width, units = z.real_units(unit);
      uint32_t *const columns = to + b * z.words * z.block + v * z.width;
      const auto row = [&](int row_block) { return (row_block < 0 ? 0 : row_block) * z.H + unit; };
      pack_columns<Cell>(layer.weight_hh, row(hh), hh < 0 ? 0 : units, z.R, columns);
      pack_columns<Cell>(layer.weight_ih, row(ih), ih < 0 ? 0 : units, z.F, columns + z.h_words * z.block);
      auto biases = Vector::zero();
      if (layer.bias_ih && ih >= 0)
        biases = Vector::add(biases, load_partial<Vector>(layer.bias_ih + row(ih), units));
      if (layer.bias_hh && hh >= 0)
        biases = Vector::add(biases, load_partial<Vector>(layer.bias_hh + row(hh), units));
      Vector::store(bias + b * z.block + v * z.width, biases);
    }
  }
}

// Backward, the sums' gradient is multiplied by the weights to give the gradient of h and x. The product's columns
// are those of the weights, in groups of `tile_vectors` vectors: [group][block of units][word][vector in group][lane]
// with the words of those sums that have a product with h or x.
template <class Cell>
int64_t transposed_words(const Sizes<Cell> &z, SumRange range, int64_t columns) {
  return round_up(columns, z.width) * (z.sum_words / Cell::sums * (range.end - range.first));
}

template <class Cell>
int64_t packed_backward_words(const Sizes<Cell> &z) {
  return transposed_words(z, sums_of<Cell>(Cell::hh_rows), z.R) +
         transposed_words(z, sums_of<Cell>(Cell::ih_rows), z.F);
}

template <class Cell>
size_t packed_backward_bytes(const Shape &shape) {
  return static_cast<size_t>(packed_backward_words(Sizes<Cell>(shape))) * 4;
}

// `rows`: Cell::ih_rows or Cell::hh_rows.
template <class Cell>
void pack_transposed(const Sizes<Cell> &z, const float *weights, const int (&rows)[Cell::sums], int64_t columns,
                     uint32_t *to) {
  using Operand = typename Cell::Operand;
  constexpr int64_t group = tile_vectors * Sizes<Cell>::width;
  for (int64_t first = 0; first < round_up(columns, z.width); first += group) {
    const int64_t lanes = smaller(group, round_up(columns, z.width) - first);
    for (int64_t block_sum = 0; block_sum < z.blocks * Cell::sums; ++block_sum) {
      const int64_t row_block = rows[block_sum % Cell::sums], unit = block_sum / Cell::sums * z.units;
      if (row_block < 0) continue;
      const float *row = weights + (row_block * z.H + unit) * columns + first;
      const int64_t units = smaller(z.units, z.H - unit);
      for (int64_t u = 0; u < z.units; u += Operand::per_word) {
        const int64_t real = u < units ? smaller(lanes, columns - first) : 0;
        const bool second = Operand::per_word == 2 && u + 1 < units;  // a word holds two adjacent units
        if (real) Operand::convert_rows(to, row, second ? row + columns : nullptr, real);
        for (int64_t lane = real; lane < lanes; ++lane) to[lane] = 0;
        to += lanes;
        row += Operand::per_word * columns;
      }
    }
  }
}

template <class Cell>
void pack_backward(const scanline_layer &layer, bool inputs, void *packed) {
  const Sizes<Cell> z(layer);
  auto *to = static_cast<uint32_t *>(packed);
  pack_transposed(z, layer.weight_hh, Cell::hh_rows, z.R, to);
  to += transposed_words(z, sums_of<Cell>(Cell::hh_rows), z.R);
  if (inputs) pack_transposed(z, layer.weight_ih, Cell::ih_rows, z.F, to);
}

}  // namespace
}  // namespace scanline
