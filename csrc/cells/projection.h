// The projection of a cell's outputs, h = W_hr m (Sak et al. 2014), as a cell without activation and without inputs
// that reads m in the place of h. So the driver packs, multiplies and differentiates it as any other (driver/projection.h).
#pragma once

namespace scanline {
namespace {

template <class O>
struct Projection {
  using Operand = O;
  using Vector = typename O::Vector;
  using vector = typename Vector::type;

  static constexpr int sums = 1, unit_vectors = 4, saved = 0, states = 0;
  static constexpr bool state_is_output = false;
  static constexpr int ih_rows[sums] = {0}, hh_rows[sums] = {0};

  static inline __attribute__((always_inline)) vector forward(const vector (&sum)[sums], vector &, vector (&)[1]) {
    return sum[0];
  }
  static inline __attribute__((always_inline)) void backward(const vector (&)[1], vector, vector, vector dh, vector &,
                                                             vector (&dsum)[sums]) {
    dsum[0] = dh;
  }
};

}  // namespace
}  // namespace scanline
