// What limits an instruction set: its rates of multiply-adds in registers and of loads (runtime/peak.cpp times them).
#pragma once

#include <cstdint>

#include "driver/sizes.h"
#include "driver/tile.h"
#include "kernels/kernel.h"

namespace scanline {
namespace {

// Independent chains: all in flight at once hide the latency of one (at most 4 cycles at up to 4 operations a cycle,
// or 6 at 2). The portable kernel has 16 registers on x86, of which two hold constants.
template <class Vector>
constexpr int chains = Vector::tile_rows * tile_vectors < 14 ? 14 : Vector::tile_rows * tile_vectors;

// Run `rounds` multiply-adds of every chain. Returns the floating-point operations of one round.
//
// values: the chains' first and last values, width * chains. The compiler can neither merge the chains, as it does not
// know that they start from equal values, nor remove them, as the last values are stored.
template <class Operand>
SCANLINE_NOINLINE int64_t multiply_adds(int64_t rounds, float *values) {
  using Vector = typename Operand::Vector;
  constexpr int count = chains<Vector>, width = Vector::width;
  typename Vector::type sums[count];
#pragma GCC unroll 32
  for (int c = 0; c < count; ++c) sums[c] = Vector::load(values + c * width);
  const auto half = Vector::all(0.5f), one = Vector::all(values[0]);
  uint32_t words[width];
  for (int k = 0; k < width; ++k) Operand::convert(words + k, values, Operand::per_word);
  const auto factor = Operand::broadcast(words);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 32
    for (int c = 0; c < count; ++c) {
      if constexpr (Operand::per_word == 1)
        // The sum is a factor, as without fused instructions an equal product of every round would be computed once.
        sums[c] = Vector::fma(sums[c], half, one);
      else  // grows to 2^25, where adding 2 changes nothing
        sums[c] = Operand::multiply_add(sums[c], factor, words);
    }
  }
#pragma GCC unroll 32
  for (int c = 0; c < count; ++c) Vector::store(values + c * width, sums[c]);
  return int64_t{2} * Operand::per_word * width * count;
}

// Load the `count` floats `rounds` times; `count` is a multiple of 128. The values are added, so that no load can be
// removed; result: 128 floats.
template <class Operand>
SCANLINE_NOINLINE void loads(const float *from, int64_t count, int64_t rounds, float *result) {
  using Vector = typename Operand::Vector;
  constexpr int lanes = 8, width = Vector::width;
  typename Vector::type sums[lanes];
#pragma GCC unroll 8
  for (int l = 0; l < lanes; ++l) sums[l] = Vector::zero();
  for (int64_t round = 0; round < rounds; ++round)
    for (int64_t k = 0; k < count; k += lanes * width)
#pragma GCC unroll 8
      for (int l = 0; l < lanes; ++l) sums[l] = Vector::add(sums[l], Vector::load(from + k + l * width));
#pragma GCC unroll 8
  for (int l = 0; l < lanes; ++l) Vector::store(result + l * width, sums[l]);
}

template <class Operand>
constexpr Peak peak{static_cast<size_t>(chains<typename Operand::Vector>) * Operand::Vector::width,
                    multiply_adds<Operand>, loads<Operand>};

}  // namespace
}  // namespace scanline
