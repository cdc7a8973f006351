// One sequence in one direction, for predictions of a single sequence.
//
// With one row a step reads every weight once, so that it takes as long as the weights take from the level-2 cache to
// the level-1 cache. What is not reading is therefore kept out of the way: no sorting, no copies of the inputs of all
// steps, weights are prefetched during the cell's epilogue and while threads wait for each other, and the product with
// an h of zeros, which the first step would compute at every call, is kept (`first_sums`).
//
// Every sum has the terms of the forward pass of a batch (driver/forward_step.h) in the same order: bias, h, x. The
// results have the same bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "driver/forward_step.h"
#include "driver/sizes.h"
#include "driver/tile.h"
#include "kernels/kernel.h"

namespace scanline {
namespace {

// Blocks of units in one tile. Two or more hide the latency of multiply-add, which a tile of one row has no other
// sums to fill with.
template <class Cell>
constexpr int row_blocks = 2;

// Cache lines that are prefetched at once: about as many as arrive during an epilogue.
constexpr int64_t prefetched_lines = 64;

inline void prefetch_lines(const void *from, int64_t lines) {
  const char *line = static_cast<const char *>(from);
  for (int64_t k = 0; k < lines; ++k) __builtin_prefetch(line + k * 64);
}

// sums[j][v] += a[k] * weights[j][k][v] for the columns v whose bit is set.
template <class Operand, unsigned columns, int blocks, int vectors>
SCANLINE_INLINE void multiply_blocks(typename Operand::vector (&sums)[blocks][vectors], const uint32_t *a,
                                     const uint32_t *weights, int64_t block_stride, int64_t stride, int64_t count) {
  for (int64_t k = 0; k < count; ++k) {
    const auto value = Operand::broadcast(a + k);
#pragma GCC unroll 8
    for (int j = 0; j < blocks; ++j)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        if (columns >> v & 1)
          sums[j][v] = Operand::multiply_add(sums[j][v], value, weights + j * block_stride + v * Operand::Vector::width);
    weights += stride;
  }
}

// In these, a member passes the operands of its units to the others after every step. The number of the step is in the
// same cache line as the operands, so that a step costs two transfers between cores: one to claim the line, one to read
// it. With a separate barrier it costs four.
struct alignas(64) Letter {
  static constexpr int64_t words = 15;
  uint32_t operands[words];
  uint32_t step;
};

// A letter of a step that a member waits for.
struct Expected {
  const Letter *letter;
  uint32_t step;

  static bool arrived(const void *data) {
    const auto *const expected = static_cast<const Expected *>(data);
    return __atomic_load_n(&expected->letter->step, __ATOMIC_ACQUIRE) == expected->step;
  }
};

template <class Cell>
struct RowScratch {
  Letter *letters[2];        // of even and odd numbers of a step; Share says whose are where
  float *states;             // [block of units][unit in block]
  uint32_t *h[max_members];  // each member's copies of all operands: a step reads one and writes the other
  uint32_t *x[max_members];  // each member's operands of the step's input
  size_t bytes;

  static constexpr int64_t block_words = Sizes<Cell>::units / Cell::Operand::per_word;

  // The length of a copy of h, with room for whole blocks.
  static int64_t h_stride(const Sizes<Cell> &z) { return round_up(z.blocks * block_words, 16); }

  RowScratch(void *memory, const Sizes<Cell> &z) {
    Arena arena(memory);
    for (auto &each : letters) each = arena.take<Letter>(z.blocks * block_words / Letter::words + 1 + max_members);
    states = arena.take<float>(z.blocks * z.units);
    for (auto &each : h) each = arena.take<uint32_t>(2 * h_stride(z));
    for (auto &each : x) each = arena.take<uint32_t>(round_up(z.words - z.h_words, 16));
    bytes = arena.bytes();
  }
};

// The words of h that one member computes, and its letters.
struct Share {
  int64_t first, end, letters, first_letter;

  Share(int64_t blocks, int64_t block_words, int64_t member, int64_t members)
      : first(blocks * member / members * block_words), end(blocks * (member + 1) / members * block_words) {
    letters = (end - first + Letter::words - 1) / Letter::words;
    first_letter = first / Letter::words + member;
  }
};

template <class Cell>
size_t row_scratch_bytes(int64_t features, int64_t units) {
  return RowScratch<Cell>(nullptr, Sizes<Cell>(features, units)).bytes;
}

template <class Cell>
struct RowStep {
  const float *sums;            // that the first product adds to, [block of units][sum][unit in block]
  const uint32_t *h;            // null: `sums` contain its product
  const uint32_t *x;
  const uint32_t *weights;
  const uint32_t *next_weights;  // to prefetch
  uint32_t *next_h;
  float *states, *outputs;
};

// One step of the blocks b <= block < b + blocks.
template <class Cell, int blocks>
SCANLINE_NOINLINE void row_tile(const Sizes<Cell> &z, const RowStep<Cell> &step, int64_t b) {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  using vector = typename Vector::type;
  constexpr int width = Vector::width, vectors = Sizes<Cell>::vectors;
  constexpr unsigned of_h = columns_of<Cell>(Cell::hh_rows), of_x = columns_of<Cell>(Cell::ih_rows);
  vector sums[blocks][vectors];
#pragma GCC unroll 8
  for (int j = 0; j < blocks; ++j)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sums[j][v] = Vector::load(step.sums + (b + j) * z.block + v * width);
  const uint32_t *weights = step.weights + b * z.words * z.block;
  const int64_t stride = z.words * z.block;
  if (step.h) multiply_blocks<Operand, of_h>(sums, step.h, weights, stride, z.block, z.h_words);
  multiply_blocks<Operand, of_x>(sums, step.x, weights + z.h_words * z.block, stride, z.block, z.words - z.h_words);
  prefetch_lines(step.next_weights, prefetched_lines);
#pragma GCC unroll 4
  for (int j = 0; j < blocks; ++j)
#pragma GCC unroll 4
    for (int u = 0; u < Cell::unit_vectors; ++u) {
      const int64_t offset = z.offset(u), unit = (b + j) * z.units + offset, n = z.real_units(unit);
      vector sum[Cell::sums], state = Vector::zero(), saved[Sizes<Cell>::saved_array];
#pragma GCC unroll 4
      for (int k = 0; k < Cell::sums; ++k) sum[k] = sums[j][k * Cell::unit_vectors + u];
      if (Cell::states) state = Vector::load(step.states + unit);
      const vector output = Cell::forward(sum, state, saved);
      if (Cell::states) Vector::store(step.states + unit, state);
      Operand::put(step.next_h, unit, output, n);
      store_partial<Vector>(step.outputs + unit, output, n);
    }
}

// One member's part of a layer. Every member computes some blocks of units, and all meet after every step.
template <class Cell>
class RowPass {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;

 public:
  RowPass(const Row &row, void *scratch, const Team &team)
      : row_(row),
        team_(team),
        z_(row.features, row.units),
        scratch_(scratch, z_),
        weights_(static_cast<const uint32_t *>(row.packed)),
        bias_(reinterpret_cast<const float *>(weights_ + z_.blocks * z_.words * z_.block)),
        first_(z_.blocks * team.member / team.members),
        end_(z_.blocks * (team.member + 1) / team.members) {}

  void run() {
    put_initial();
    RowStep<Cell> step{};
    step.weights = weights_;
    step.states = scratch_.states;
    step.x = scratch_.x[team_.member];
    for (int64_t s = 0; s < row_.steps; ++s) {
      const bool known = s == 0 && !row_.h0 && row_.first_sums;
      step.sums = known ? row_.first_sums : bias_;
      step.h = known ? nullptr : h(s);
      step.next_h = h(s + 1);
      step.outputs = row_.y + s * row_.y_step;
      Operand::convert(scratch_.x[team_.member], row_.x + s * row_.x_step, z_.F);
      claim_letters(s);
      compute(step);
      if (team_.members > 1) exchange(s);
    }
    put_final();
  }

 private:
  uint32_t *h(int64_t s) const { return scratch_.h[team_.member] + s % 2 * RowScratch<Cell>::h_stride(z_); }

  void put_initial() {
    std::memset(scratch_.x[team_.member], 0, static_cast<size_t>(z_.words - z_.h_words) * 4);
    std::memset(h(0), 0, static_cast<size_t>(2 * RowScratch<Cell>::h_stride(z_)) * 4);
    if (row_.h0) Operand::convert(h(0), row_.h0, z_.H);
    if (!Cell::states) return;
    const float *const initial = Cell::state_is_output ? row_.h0 : row_.c0;
    for (int64_t unit = first_ * z_.units; unit < end_ * z_.units; unit += z_.width)
      Vector::store(scratch_.states + unit,
                    initial ? load_partial<Vector>(initial + unit, z_.real_units(unit)) : Vector::zero());
  }

  Share share(int64_t member) const {
    return Share(z_.blocks, RowScratch<Cell>::block_words, member, team_.members);
  }

  // They alternate from the last step of one layer to the first of the next, too: a member may be there while others
  // still read what it sent from the last step.
  Letter *letters(int64_t s) const { return scratch_.letters[(row_.first_step + s) % 2]; }

  // Writes to the letters of step s, so that their cache lines arrive while the step is computed. The others have read
  // what they held, or they could not have sent their own letters of step s - 1.
  void claim_letters(int64_t s) {
    if (team_.members == 1) return;
    const Share own = share(team_.member);
    for (int64_t k = 0; k < own.letters; ++k) letters(s)[own.first_letter + k].operands[0] = 0;
    __asm__ volatile("" ::: "memory");
  }

  // Sends the operands that this member computed in step s and receives those of the others.
  void exchange(int64_t s) {
    uint32_t *const words = h(s + 1);
    Letter *const letters = this->letters(s);
    const auto number = static_cast<uint32_t>(row_.first_step + s + 1);
    const Share own = share(team_.member);
    for (int64_t k = 0; k < own.letters; ++k) {
      Letter &letter = letters[own.first_letter + k];
      const int64_t at = own.first + k * Letter::words, n = smaller(Letter::words, own.end - at);
      std::memcpy(letter.operands, words + at, static_cast<size_t>(n) * 4);
      __atomic_store_n(&letter.step, number, __ATOMIC_RELEASE);
    }
    for (int64_t member = 0; member < team_.members; ++member) {
      if (member == team_.member) continue;
      const Share others = share(member);
      for (int64_t k = 0; k < others.letters; ++k) {
        const Letter &letter = letters[others.first_letter + k];
        const Expected expected{&letter, number};
        if (!expected.arrived(&expected)) row_.wait(Expected::arrived, &expected);
        const int64_t at = others.first + k * Letter::words, n = smaller(Letter::words, others.end - at);
        std::memcpy(words + at, letter.operands, static_cast<size_t>(n) * 4);
      }
    }
  }

  void compute(RowStep<Cell> &step) {
    int64_t b = first_;
    for (; b + row_blocks<Cell> <= end_; b += row_blocks<Cell>) {
      step.next_weights = weights_ + next(b + row_blocks<Cell>) * z_.words * z_.block;
      row_tile<Cell, row_blocks<Cell>>(z_, step, b);
    }
    for (; b < end_; ++b) {
      step.next_weights = weights_ + next(b + 1) * z_.words * z_.block;
      row_tile<Cell, 1>(z_, step, b);
    }
  }

  // After the last block comes the first of the next step.
  int64_t next(int64_t b) const { return b < end_ ? b : first_; }

  void put_final() {
    if (!Cell::states || Cell::state_is_output || !row_.cn) return;
    for (int64_t unit = first_ * z_.units; unit < smaller(end_ * z_.units, z_.H); unit += z_.width)
      store_partial<Vector>(row_.cn + unit, Vector::load(scratch_.states + unit), z_.real_units(unit));
  }

  const Row &row_;
  const Team &team_;
  const Sizes<Cell> z_;
  const RowScratch<Cell> scratch_;
  const uint32_t *const weights_;
  const float *const bias_;
  const int64_t first_, end_;
};

// The sums of a step after the product with an h of zeros, [block of units][sum][unit in block]. Not the biases: the
// product of 0 with an infinite weight is NaN.
template <class Cell>
void first_sums(int64_t features, int64_t units, const void *packed, float *sums) {
  using Operand = typename Cell::Operand;
  using Vector = typename Operand::Vector;
  constexpr int vectors = Sizes<Cell>::vectors;
  const Sizes<Cell> z(features, units);
  const auto *const weights = static_cast<const uint32_t *>(packed);
  const auto *const bias = reinterpret_cast<const float *>(weights + z.blocks * z.words * z.block);
  const uint32_t zero = 0;
  for (int64_t b = 0; b < z.blocks; ++b) {
    typename Vector::type row[1][vectors];
    for (int v = 0; v < vectors; ++v) row[0][v] = Vector::load(bias + b * z.block + v * Vector::width);
    multiply<Operand, columns_of<Cell>(Cell::hh_rows)>(row, &zero, 0, 0, weights + b * z.words * z.block, z.block,
                                                       z.h_words);
    for (int v = 0; v < vectors; ++v) Vector::store(sums + b * z.block + v * Vector::width, row[0][v]);
  }
}

template <class Cell>
void run_row(const Row &row, void *scratch, const Team &team) {
  RowPass<Cell>(row, scratch, team).run();
}

}  // namespace
}  // namespace scanline
