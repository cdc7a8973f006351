// Of a predictor: the linear head, with float32 features, float64 weights and sums; and the digest of weights.
#pragma once

#include <cstdint>
#include <cstring>

namespace scanline {
namespace {

// Eight numbers; the compiler splits them for narrower instruction sets.
typedef double Doubles __attribute__((vector_size(64)));
constexpr int64_t head_lanes = sizeof(Doubles) / sizeof(double);

// `groups` vectors of columns from `first` on, at most `outputs` of them wanted.
template <int groups>
void project_columns(const float *in, int64_t count, const double *weights, const double *bias, int64_t columns,
                     int64_t outputs, float *out) {
  Doubles sums[groups], column;
  std::memcpy(sums, bias, sizeof sums);
  for (int64_t k = 0; k < count; ++k) {
    const double value = in[k];
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      std::memcpy(&column, weights + k * columns + g * head_lanes, sizeof column);
      sums[g] += value * column;
    }
  }
  double all[groups * head_lanes];
  std::memcpy(all, sums, sizeof all);
  for (int64_t m = 0; m < outputs && m < groups * head_lanes; ++m) out[m] = static_cast<float>(all[m]);
}

template <class Operand>
void project(const float *in, int64_t count, const double *weights, const double *bias, int64_t columns,
             int64_t outputs, float *out) {
  for (int64_t m = 0; m < columns;) {
    const auto columns_from = [&](auto body, int64_t taken) {
      body(in, count, weights + m, bias + m, columns, outputs - m, out + m);
      m += taken * head_lanes;
    };
    if (columns - m >= 4 * head_lanes)
      columns_from(project_columns<4>, 4);
    else if (columns - m >= 2 * head_lanes)
      columns_from(project_columns<2>, 2);
    else
      columns_from(project_columns<1>, 1);
  }
}

// A digest of `count` numbers that changes for certain if one of them does, to the last bit. Reads at the speed of the
// level-2 cache.
inline uint64_t digest(const float *numbers, int64_t count) {
  typedef uint32_t Words __attribute__((vector_size(64)));
  constexpr int64_t lanes = sizeof(Words) / sizeof(uint32_t), chains = 8;
  Words state[chains] = {}, words;
  int64_t k = 0;
  for (; k + chains * lanes <= count; k += chains * lanes)
#pragma GCC unroll 8
    for (int64_t j = 0; j < chains; ++j) {
      std::memcpy(&words, numbers + k + j * lanes, sizeof words);
      // Both steps are invertible, so that no later number can undo a change in the same lane.
      state[j] = (state[j] ^ words) * 0x9e3779b1u;
    }
  uint32_t parts[chains * lanes], word;
  std::memcpy(parts, state, sizeof state);
  uint64_t sum = static_cast<uint64_t>(count);
  const auto add = [&](uint32_t part) {
    sum = (sum ^ part) * 0x9e3779b97f4a7c15u;
    sum ^= sum >> 32;
  };
  for (int64_t j = 0; j < chains * lanes; ++j) add(parts[j]);
  for (; k < count; ++k) {
    std::memcpy(&word, numbers + k, sizeof word);
    add(word);
  }
  return sum;
}

}  // namespace
}  // namespace scanline
