// Operands of the products in bfloat16, for AVX-512 with its bfloat16 instructions. A word is a pair of values;
// one instruction multiplies 16 pairs and adds both products to float32 sums. operand/float32.h describes the
// members.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "isa/avx512.h"
#include "scanline.h"

namespace scanline {
namespace {

struct Bfloat16 {
  using Vector = Avx512;
  using vector = Avx512::type;
  // Half precision (float16): gates lie in -1..1, where its step is an eighth of bfloat16's.
  using Saved = uint16_t;
  static constexpr int per_word = 2;
  static constexpr bool exact = false;
  static constexpr int precision = SCANLINE_BFLOAT16;

  static bool supported() { return Avx512::supported() && __builtin_cpu_supports("avx512bf16"); }

  static __m512i broadcast(const uint32_t *word) { return _mm512_set1_epi32(static_cast<int>(*word)); }
  static vector multiply_add(vector sum, __m512i a, const uint32_t *weights) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)_mm512_loadu_si512(weights));
  }

  static void convert(uint32_t *to, const float *from, int64_t count) {
    auto *half = reinterpret_cast<uint16_t *>(to);
    int64_t k = 0;
    for (; k + 16 <= count; k += 16)
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(half + k),
                          (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + k)));
    if (k < count) {  // the partner of an odd last value is 0
      const int64_t words = (count - k + 1) / 2;
      const auto rest = (__m256i)_mm512_cvtneps_pbh(Avx512::load_first(from + k, count - k));
      _mm256_mask_storeu_epi32(half + k, static_cast<__mmask8>((1u << words) - 1), rest);
    }
  }
  static void convert_rows(uint32_t *to, const float *row, const float *next, int64_t count) {
    for (int64_t k = 0; k < count; k += 16) {
      const __mmask16 here = count - k >= 16 ? static_cast<__mmask16>(0xffff) : Avx512::first(count - k);
      const auto second = next ? _mm512_maskz_loadu_ps(here, next + k) : Avx512::zero();
      _mm512_mask_storeu_epi32(to + k, here, pair(_mm512_maskz_loadu_ps(here, row + k), second));
    }
  }
  static vector load_words(const float *from, int64_t count) {
    const auto some = [&](int64_t first) {
      const int64_t n = count - first;
      return n >= 16 ? Avx512::load(from + first) : n > 0 ? Avx512::load_first(from + first, n) : Avx512::zero();
    };
    return (__m512)_mm512_cvtne2ps_pbh(some(16), some(0));
  }

  static void put(uint32_t *row, int64_t column, vector v, int64_t n) {
    auto *to = reinterpret_cast<uint16_t *>(row) + column;
    const auto half = (__m256i)_mm512_cvtneps_pbh(v);
    if (n == 16)
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), half);
    else
      _mm256_mask_storeu_epi16(to, Avx512::first(n), half);
  }
  template <int count>
  static void put_row(uint32_t *row, const vector (&values)[count]) {
    static_assert(count % 2 == 0, "one store takes two vectors");
    for (int k = 0; k < count; k += 2)
      _mm512_storeu_si512(row + k * 8, (__m512i)_mm512_cvtne2ps_pbh(values[k + 1], values[k]));
  }
  template <int count>
  static void put_rows(uint32_t *to, const vector (&rows)[per_word][count]) {
    for (int k = 0; k < count; ++k) _mm512_storeu_si512(to + k * 16, pair(rows[0][k], rows[1][k]));
  }

  static vector storable(vector v) {  // NaN, the second operand of both, stays
    return _mm512_max_ps(_mm512_set1_ps(-65504.0f), _mm512_min_ps(_mm512_set1_ps(65504.0f), v));
  }
  static void save(Saved *to, vector v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(to),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static vector load_saved(const Saved *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
  }

 private:
  // Word k holds lane k of both rows.
  static __m512i pair(vector row, vector next) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                           22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(next, row));
  }
};

}  // namespace
}  // namespace scanline
