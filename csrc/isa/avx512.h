// AVX-512 (F, DQ, BW, VL): 16 floats a vector.
//
// The reference for the interface of a vector type: isa/avx2.h, isa/neon.h and isa/portable.h provide the same
// members. Everything that is compiled for one instruction set lives in an unnamed namespace, here and in
// operand/, cells/ and driver/: each translation unit has its own copy, so the linker can never pick a function
// compiled for AVX-512 for a processor without it.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace scanline {
namespace {

struct Avx512 {
  using type = __m512;
  static constexpr int width = 16;
  // Rows of a register tile. 6 rows x 4 vectors of sums, 4 of weights and 1 of inputs fit 32 registers.
  static constexpr int tile_rows = 6;

  static bool supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  }

  static type zero() { return _mm512_setzero_ps(); }
  static type all(float value) { return _mm512_set1_ps(value); }
  static type load(const float *from) { return _mm512_loadu_ps(from); }
  static void store(float *to, type v) { _mm512_storeu_ps(to, v); }

  // The first n lanes, 0 <= n < width: other lanes read as 0 and are not written.
  static __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
  static type load_first(const float *from, int64_t n) { return _mm512_maskz_loadu_ps(first(n), from); }
  static void store_first(float *to, type v, int64_t n) { _mm512_mask_storeu_ps(to, first(n), v); }
  static type keep_first(type v, int64_t n) { return _mm512_maskz_mov_ps(first(n), v); }

  static type add(type a, type b) { return _mm512_add_ps(a, b); }
  static type sub(type a, type b) { return _mm512_sub_ps(a, b); }
  static type mul(type a, type b) { return _mm512_mul_ps(a, b); }
  static type fma(type a, type b, type c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
  static type fnma(type a, type b, type c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b

  static type magnitude(type v) { return _mm512_abs_ps(v); }
  static type positive_part(type v) { return _mm512_max_ps(zero(), v); }  // max(0, v); NaN stays
  // v where `of` is positive or NaN, else 0.
  static type where_positive(type v, type of) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(of, zero(), _CMP_NLE_UQ), v);
  }
  // v with the sign of `of`; v >= 0.
  static type with_sign(type v, type of) { return _mm512_or_ps(v, _mm512_and_ps(of, all(-0.0f))); }

  // The steps of 2^z (cells/activations.h). `clamp` limits z to where `fraction` and `scale` are valid and keeps
  // NaN; AVX-512's instructions are valid everywhere.
  static type clamp(type z) { return z; }
  static type fraction(type z) {  // z - floor(z)
    return _mm512_reduce_ps(z, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  static type scale(type p, type z) { return _mm512_scalef_ps(p, z); }  // p 2^floor(z)

  // 1 / v for v >= 1 that was computed from scale(p, z); 0 if that overflowed.
  static type rough_reciprocal(type v, type) { return _mm512_rcp14_ps(v); }
  // One Newton step; the minimum avoids infinity x 0.
  static type reciprocal(type v, type) {
    const type r = _mm512_rcp14_ps(v), finite = _mm512_min_ps(all(3.4e38f), v);
    return fma(r, fnma(finite, r, all(1.0f)), r);
  }

  // Exchange v[r] lane k with v[k] lane r: first within pairs of rows, then pairs of pairs, then 128-bit quarters.
  static void transpose(type (&v)[width]) {
    type t[width];
#pragma GCC unroll 4
    for (int r = 0; r < 16; r += 4) {
      const auto low = _mm512_castps_pd(_mm512_unpacklo_ps(v[r], v[r + 1]));
      const auto high = _mm512_castps_pd(_mm512_unpackhi_ps(v[r], v[r + 1]));
      const auto next_low = _mm512_castps_pd(_mm512_unpacklo_ps(v[r + 2], v[r + 3]));
      const auto next_high = _mm512_castps_pd(_mm512_unpackhi_ps(v[r + 2], v[r + 3]));
      t[r] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, next_low));
      t[r + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, next_low));
      t[r + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, next_high));
      t[r + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, next_high));
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {  // t[4 j + k] holds lanes k, k + 4, k + 8, k + 12 of rows 4 j to 4 j + 3
      const type a = _mm512_shuffle_f32x4(t[k], t[4 + k], 0x88), b = _mm512_shuffle_f32x4(t[8 + k], t[12 + k], 0x88);
      const type c = _mm512_shuffle_f32x4(t[k], t[4 + k], 0xdd), d = _mm512_shuffle_f32x4(t[8 + k], t[12 + k], 0xdd);
      v[k] = _mm512_shuffle_f32x4(a, b, 0x88);
      v[k + 8] = _mm512_shuffle_f32x4(a, b, 0xdd);
      v[k + 4] = _mm512_shuffle_f32x4(c, d, 0x88);
      v[k + 12] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
  }
};

}  // namespace
}  // namespace scanline
