// AVX2 with fused multiply-add: 8 floats a vector. isa/avx512.h describes the members.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "isa/transpose.h"

namespace scanline {
namespace {

struct Avx2 {
  using type = __m256;
  static constexpr int width = 8;
  // 3 rows x 4 vectors of sums leave 4 of 16 registers for weights and inputs.
  static constexpr int tile_rows = 3;

  static bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

  static type zero() { return _mm256_setzero_ps(); }
  static type all(float value) { return _mm256_set1_ps(value); }
  static type load(const float *from) { return _mm256_loadu_ps(from); }
  static void store(float *to, type v) { _mm256_storeu_ps(to, v); }

  static __m256i first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static type load_first(const float *from, int64_t n) { return _mm256_maskload_ps(from, first(n)); }
  static void store_first(float *to, type v, int64_t n) { _mm256_maskstore_ps(to, first(n), v); }
  static type keep_first(type v, int64_t n) { return _mm256_and_ps(v, _mm256_castsi256_ps(first(n))); }

  static type add(type a, type b) { return _mm256_add_ps(a, b); }
  static type sub(type a, type b) { return _mm256_sub_ps(a, b); }
  static type mul(type a, type b) { return _mm256_mul_ps(a, b); }
  static type fma(type a, type b, type c) { return _mm256_fmadd_ps(a, b, c); }
  static type fnma(type a, type b, type c) { return _mm256_fnmadd_ps(a, b, c); }

  static type magnitude(type v) { return _mm256_andnot_ps(all(-0.0f), v); }
  static type positive_part(type v) { return _mm256_max_ps(zero(), v); }
  static type where_positive(type v, type of) { return _mm256_and_ps(v, _mm256_cmp_ps(of, zero(), _CMP_NLE_UQ)); }
  static type with_sign(type v, type of) { return _mm256_or_ps(v, _mm256_and_ps(of, all(-0.0f))); }

  static type clamp(type z) { return _mm256_max_ps(all(-126.0f), _mm256_min_ps(all(126.0f), z)); }
  static type fraction(type z) { return sub(z, _mm256_floor_ps(z)); }
  static type scale(type p, type z) {  // adds floor(z) to the exponent bits
    const __m256i power = _mm256_slli_epi32(_mm256_cvttps_epi32(_mm256_floor_ps(z)), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), power));
  }
  static type rough_reciprocal(type v, type z) { return reciprocal(v, z); }
  static type reciprocal(type v, type z) {  // 0 if z > 126
    return _mm256_and_ps(_mm256_div_ps(all(1.0f), v), _mm256_cmp_ps(z, all(126.0f), _CMP_NGT_UQ));
  }

  static void transpose(type (&v)[width]) { transpose_in_memory<Avx2>(v); }
};

}  // namespace
}  // namespace scanline
