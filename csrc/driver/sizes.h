// Sizes and memory layouts that the parts of the driver share.
//
// Units are processed in blocks. A block is what one register tile computes in a step: `unit_vectors` vectors of
// units, and for each of them `sums` products. In every buffer of sums, columns are ordered
//
//     [block of units][sum][unit in block]
//
// A row of the forward product is the operand copy of [h | x] of one sequence: h first, padded to whole words. In a
// layer with a projection (driver/projection.h) the cell's outputs m follow at the next cache line.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {
namespace {

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
// Not std::min: kernels use nothing that the linker could share with other files (isa/avx512.h).
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The position in time of a sequence's s-th step.
inline int64_t time_of(const scanline_layer &layer, int64_t length, int64_t s) {
  return layer.reverse ? length - 1 - s : s;
}

// The most vectors in a row of a register tile.
constexpr int tile_vectors = 4;

// Blocks of H rows in weight_ih, which are as many as in weight_hh.
template <class Cell>
constexpr int gates_of() {
  int gates = 0;
  for (const int row : Cell::ih_rows)
    if (row >= gates) gates = row + 1;
  return gates;
}

template <class Cell>
struct Sizes {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  static constexpr int width = Vector::width;
  static constexpr int vectors = Cell::sums * Cell::unit_vectors;  // columns of a block, in vectors
  static constexpr int block = vectors * width;                    // columns of a block
  static constexpr int units = Cell::unit_vectors * width;         // units of a block
  static constexpr int saved = Cell::saved * units;                // values that a step of a block keeps
  static constexpr int saved_array = Cell::saved ? Cell::saved : 1;  // of a unit, as an array
  // States a unit that a step keeps beside them. A state that is the output is read from y in the backward pass.
  static constexpr int kept_states = Cell::state_is_output ? 0 : Cell::states;
  static_assert(vectors <= tile_vectors, "a block must fit a register tile");
  static_assert(vectors % Operand::per_word == 0, "operand words must not cross blocks");
  static_assert(Cell::states == 0 || Cell::states == 1, "the driver carries one state beside h");

  int64_t F, H;
  int64_t blocks;          // of units
  int64_t h_words, words;  // of h in a row [h | x], and of the whole row
  int64_t row_words;       // distance of such rows: a whole number of cache lines
  int64_t sum_words;       // words of one row of the sums' gradient
  int64_t R;               // width of h: H, or that of a projection of the outputs
  int64_t outputs_at;      // where m begins in a row, if the layer has a projection

  Sizes(int64_t features, int64_t hidden, int64_t projection = 0) : F(features), H(hidden) {
    blocks = (H + units - 1) / units;
    R = projection ? projection : H;
    h_words = round_up(R, Operand::per_word) / Operand::per_word;
    words = h_words + round_up(F, Operand::per_word) / Operand::per_word;
    outputs_at = round_up(words, 16);
    row_words = outputs_at + (projection ? round_up(round_up(H, Operand::per_word) / Operand::per_word, 16) : 0);
    sum_words = blocks * block / Operand::per_word;
  }
  explicit Sizes(const Shape &shape) : Sizes(shape.features, shape.units, shape.projection) {}
  explicit Sizes(const scanline_layer &layer) : Sizes(layer.features, layer.units, layer.projection) {}

  // Where vector u of a block begins, in units. Written as a constant where a block is one vector: GCC 12 folds u into
  // addresses too late otherwise.
  static constexpr int64_t offset(int u) { return Cell::unit_vectors == 1 ? 0 : u * width; }

  // How many units of the vector that starts at `unit` exist, 0..width.
  int64_t real_units(int64_t unit) const {
    const int64_t rest = smaller(width, H - unit);
    return Cell::unit_vectors == 1 || rest > 0 ? rest : 0;
  }

  // Where a vector of units is in [block of units][row][unit in block]; `stride`: from block to block.
  int64_t place(int64_t stride, int64_t row, int64_t unit) const {
    return unit / units * stride + row * units + unit % units;
  }
};

// The vectors of a block's columns that have a product with h or with x, as bits. `rows`: Cell::hh_rows or ih_rows.
template <class Cell>
constexpr unsigned columns_of(const int (&rows)[Cell::sums]) {
  unsigned columns = 0;
  for (int v = 0; v < Sizes<Cell>::vectors; ++v)
    if (rows[v / Cell::unit_vectors] >= 0) columns |= 1u << v;
  return columns;
}

// The sums first <= sum < end that have a product with h or with x.
struct SumRange {
  int first, end;
};

template <class Cell>
constexpr SumRange sums_of(const int (&rows)[Cell::sums]) {
  SumRange range{0, Cell::sums};
  while (rows[range.first] < 0) ++range.first;
  while (rows[range.end - 1] < 0) --range.end;
  return range;
}

// Whether a cell declares them side by side, as the products of the backward pass need them.
template <class Cell>
constexpr bool adjacent(const int (&rows)[Cell::sums]) {
  for (int sum = sums_of<Cell>(rows).first; sum < sums_of<Cell>(rows).end; ++sum)
    if (rows[sum] < 0) return false;
  return true;
}

// Divides one allocation into arrays, each at the start of a cache line. Without memory it only adds up sizes.
class Arena {
 public:
  explicit Arena(void *memory) : memory_(static_cast<unsigned char *>(memory)) {}

  template <class T>
  T *take(int64_t count) {
    T *const array = memory_ ? reinterpret_cast<T *>(memory_ + bytes_) : nullptr;
    bytes_ += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return array;
  }
  size_t bytes() const { return static_cast<size_t>(bytes_); }

 private:
  unsigned char *memory_;
  int64_t bytes_ = 0;
};

}  // namespace
}  // namespace scanline
