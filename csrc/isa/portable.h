// Plain C++: 4 floats a vector. Slow, but correct on every processor; the other kernels are tested against it.
// isa/avx512.h describes the members.
#pragma once

#include <cmath>
#include <cstdint>

#include "isa/transpose.h"

namespace scanline {
namespace {

struct Portable {
  static constexpr int width = 4;
  static constexpr int tile_rows = 2;
  struct type {
    float lane[width];
  };

  static bool supported() { return true; }

  // The vector whose lane k is body(k).
  template <class Body>
  static type each(const Body &body) {
    type v;
    for (int k = 0; k < width; ++k) v.lane[k] = body(k);
    return v;
  }

  static type zero() { return all(0.0f); }
  static type all(float value) {
    return each([&](int) { return value; });
  }
  static type load(const float *from) {
    return each([&](int k) { return from[k]; });
  }
  static void store(float *to, type v) { store_first(to, v, width); }

  static type load_first(const float *from, int64_t n) {
    return each([&](int k) { return k < n ? from[k] : 0.0f; });
  }
  static void store_first(float *to, type v, int64_t n) {
    for (int64_t k = 0; k < n; ++k) to[k] = v.lane[k];
  }
  static type keep_first(type v, int64_t n) { return load_first(v.lane, n); }

  static type add(type a, type b) {
    return each([&](int k) { return a.lane[k] + b.lane[k]; });
  }
  static type sub(type a, type b) {
    return each([&](int k) { return a.lane[k] - b.lane[k]; });
  }
  static type mul(type a, type b) {
    return each([&](int k) { return a.lane[k] * b.lane[k]; });
  }
  // Two roundings, not one: -ffp-contract=off keeps the compiler from fusing some of them (CMakeLists.txt).
  static type fma(type a, type b, type c) {
    return each([&](int k) { return a.lane[k] * b.lane[k] + c.lane[k]; });
  }
  static type fnma(type a, type b, type c) {
    return each([&](int k) { return c.lane[k] - a.lane[k] * b.lane[k]; });
  }

  static type magnitude(type v) {
    return each([&](int k) { return std::fabs(v.lane[k]); });
  }
  static type positive_part(type v) {  // comparisons with NaN are false, so NaN passes
    return each([&](int k) { return v.lane[k] <= 0.0f ? 0.0f : v.lane[k]; });
  }
  static type where_positive(type v, type of) {
    return each([&](int k) { return of.lane[k] <= 0.0f ? 0.0f : v.lane[k]; });
  }
  static type with_sign(type v, type of) {
    return each([&](int k) { return std::copysign(v.lane[k], of.lane[k]); });
  }

  static type clamp(type z) {  // comparisons with NaN are false, so NaN passes
    return each([&](int k) { return z.lane[k] > 126.0f ? 126.0f : z.lane[k] < -126.0f ? -126.0f : z.lane[k]; });
  }
  static type fraction(type z) {
    return each([&](int k) { return z.lane[k] - std::floor(z.lane[k]); });
  }
  static type scale(type p, type z) {
    return each([&](int k) {
      const float power = z.lane[k];
      return power == power ? std::ldexp(p.lane[k], static_cast<int>(std::floor(power))) : power;
    });
  }
  static type rough_reciprocal(type v, type z) { return reciprocal(v, z); }
  static type reciprocal(type v, type z) {  // 0 if z > 126
    return each([&](int k) { return z.lane[k] > 126.0f ? 0.0f : 1.0f / v.lane[k]; });
  }

  static void transpose(type (&v)[width]) { transpose_in_memory<Portable>(v); }
};

}  // namespace
}  // namespace scanline
