// Products in register tiles.
//
// All products of the library have one form over 32-bit words of operands:
//
//     sums[r][v] += a[r][k] * weights[k][v]      r: row of the tile, v: vector of columns, k: summed axis
//
// Forward, a tile holds all sums of one block of units for up to `tile_rows` sequences, so the cell's epilogue
// finds everything that a new state needs in registers.
#pragma once

#include <cstdint>

#include "driver/sizes.h"

namespace scanline {
namespace {

// Functions that contain a tile are not inlined: inlined, they share registers with their caller and GCC 12 spills
// inside the product's loop (forward passes took up to 1.4 times as long).
#define SCANLINE_NOINLINE __attribute__((noinline))
#define SCANLINE_INLINE inline __attribute__((always_inline))

// `columns`: a bit for each vector v that takes part; the others keep their sums.
template <class Operand, unsigned columns, int rows, int vectors>
SCANLINE_INLINE void multiply(typename Operand::vector (&sums)[rows][vectors], const uint32_t *a, int64_t row_stride,
                              int64_t k_stride, const uint32_t *weights, int64_t weights_stride, int64_t count) {
  for (int64_t k = 0; k < count; ++k) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const auto value = Operand::broadcast(a + r * row_stride);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        if (columns >> v & 1)
          sums[r][v] = Operand::multiply_add(sums[r][v], value, weights + v * Operand::Vector::width);
    }
    a += k_stride;
    weights += weights_stride;
  }
}

constexpr unsigned all_columns = (1u << tile_vectors) - 1;

// The first n lanes, 0 <= n <= width.
template <class Vector>
inline typename Vector::type load_partial(const float *from, int64_t n) {
  return n == Vector::width ? Vector::load(from) : Vector::load_first(from, n);
}

template <class Vector>
inline void store_partial(float *to, typename Vector::type v, int64_t n) {
  n == Vector::width ? Vector::store(to, v) : Vector::store_first(to, v, n);
}

// A number of rows as a type.
template <int rows>
struct Rows {
  static constexpr int value = rows;
};

// Call body(Rows<number of rows>, first row) for tiles that together cover `count` rows.
template <class Vector, class Body>
inline void for_each_tile(int64_t count, const Body &body) {
  constexpr int full = Vector::tile_rows;
  static_assert(full <= 6, "the switch below handles up to 5 remaining rows");
  int64_t r = 0;
  // 7 or 8 rows at the end: 4 and 3 or 4. A tile of 1 or 2 waits for the weights, as it uses each only so often.
  const int64_t rest = count % full;
  const bool few = full == 6 && count > full && (rest == 1 || rest == 2);
  for (const int64_t end = count - rest - (few ? full : 0); r < end; r += full) body(Rows<full>(), r);
  if (full == 6 && few) body(Rows<4>(), r), r += 4;
  switch (count - r) {
    case 1: return body(Rows<1>(), r);
    case 2: if (full > 2) return body(Rows<2>(), r); break;
    case 3: if (full > 3) return body(Rows<3>(), r); break;
    case 4: if (full > 4) return body(Rows<4>(), r); break;
    case 5: if (full > 5) return body(Rows<5>(), r); break;
    default: break;
  }
}

}  // namespace
}  // namespace scanline
