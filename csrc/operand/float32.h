// Operands of the products in float32.
//
// The products read their operands as 32-bit words (driver/tile.h). Here a word is one float; in
// operand/bfloat16.h it is a pair of bfloat16 values, adjacent along the summed axis. This file is the reference
// for the interface of an operand.
#pragma once

#include <cstdint>
#include <cstring>

#include "scanline.h"

namespace scanline {
namespace {

template <class V>
struct Float32 {
  using Vector = V;
  using vector = typename V::type;
  using Saved = float;                 // activated gates, kept for the backward pass
  static constexpr int per_word = 1;   // values of the summed axis in one word
  static constexpr bool exact = true;  // sigmoid and tanh to float32's precision
  static constexpr int precision = SCANLINE_FLOAT32;

  static bool supported() { return V::supported(); }

  // One step of a product: sum + a * weights, with the word `a` in every lane.
  static vector broadcast(const uint32_t *word) {
    float value;
    std::memcpy(&value, word, sizeof value);
    return V::all(value);
  }
  static vector multiply_add(vector sum, vector a, const uint32_t *weights) {
    return V::fma(a, V::load(reinterpret_cast<const float *>(weights)), sum);
  }

  // `count` values as words, along the summed axis.
  static void convert(uint32_t *to, const float *from, int64_t count) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
  }
  // `count` words, where word k is value k of `row`, or of `row` and `next` if a word holds two. A null `next`
  // counts as zeros.
  static void convert_rows(uint32_t *to, const float *row, const float *, int64_t count) {
    convert(to, row, count);
  }
  // One vector of words of the `count` values from `from` on; missing values are 0.
  static vector load_words(const float *from, int64_t count) {
    return count >= V::width ? V::load(from) : V::load_first(from, count);
  }

  // Store the first n lanes of v as operands of `row`, from value `column` on.
  static void put(uint32_t *row, int64_t column, vector v, int64_t n) {
    float *to = reinterpret_cast<float *>(row) + column;
    n == V::width ? V::store(to, v) : V::store_first(to, v, n);
  }
  // Store all `count` vectors of one row as consecutive operands.
  template <int count>
  static void put_row(uint32_t *row, const vector (&values)[count]) {
    for (int k = 0; k < count; ++k) V::store(reinterpret_cast<float *>(row) + k * V::width, values[k]);
  }
  // Store `per_word` rows such that a word holds one lane of each row.
  template <int count>
  static void put_rows(uint32_t *to, const vector (&rows)[per_word][count]) {
    put_row(to, rows[0]);
  }

  // v, limited to the values that `save` can hold.
  static vector storable(vector v) { return v; }
  static void save(Saved *to, vector v) { V::store(to, v); }
  static vector load_saved(const Saved *from) { return V::load(from); }
};

}  // namespace
}  // namespace scanline
