// NEON, which every AArch64 processor has: 4 floats a vector. isa/avx512.h describes the members.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "isa/transpose.h"

namespace scanline {
namespace {

struct Neon {
  using type = float32x4_t;
  static constexpr int width = 4;
  // 6 rows x 4 vectors of sums, 4 of weights and 1 of inputs fit 32 registers.
  static constexpr int tile_rows = 6;

  static bool supported() { return true; }

  static type zero() { return vdupq_n_f32(0.0f); }
  static type all(float value) { return vdupq_n_f32(value); }
  static type load(const float *from) { return vld1q_f32(from); }
  static void store(float *to, type v) { vst1q_f32(to, v); }

  // NEON has no masked loads and stores; the lanes pass through memory.
  static type load_first(const float *from, int64_t n) {
    float lanes[width] = {};
    for (int64_t k = 0; k < n; ++k) lanes[k] = from[k];
    return load(lanes);
  }
  static void store_first(float *to, type v, int64_t n) {
    float lanes[width];
    store(lanes, v);
    for (int64_t k = 0; k < n; ++k) to[k] = lanes[k];
  }
  static type keep_first(type v, int64_t n) {
    float lanes[width];
    store(lanes, v);
    return load_first(lanes, n);
  }

  static type add(type a, type b) { return vaddq_f32(a, b); }
  static type sub(type a, type b) { return vsubq_f32(a, b); }
  static type mul(type a, type b) { return vmulq_f32(a, b); }
  static type fma(type a, type b, type c) { return vfmaq_f32(c, a, b); }
  static type fnma(type a, type b, type c) { return vfmsq_f32(c, a, b); }

  static type magnitude(type v) { return vabsq_f32(v); }
  static type positive_part(type v) { return vmaxq_f32(zero(), v); }
  static type where_positive(type v, type of) { return vbslq_f32(vcleq_f32(of, zero()), zero(), v); }
  static type with_sign(type v, type of) { return vbslq_f32(vdupq_n_u32(0x80000000u), of, v); }

  static type clamp(type z) { return vmaxq_f32(all(-126.0f), vminq_f32(all(126.0f), z)); }
  static type fraction(type z) { return sub(z, vrndmq_f32(z)); }
  static type scale(type p, type z) {  // adds floor(z) to the exponent bits
    const int32x4_t power = vshlq_n_s32(vcvtmq_s32_f32(z), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), power));
  }
  static type rough_reciprocal(type v, type z) { return reciprocal(v, z); }
  static type reciprocal(type v, type z) {  // 0 if z > 126
    return vbslq_f32(vcgtq_f32(z, all(126.0f)), zero(), vdivq_f32(all(1.0f), v));
  }

  static void transpose(type (&v)[width]) { transpose_in_memory<Neon>(v); }
};

}  // namespace
}  // namespace scanline
