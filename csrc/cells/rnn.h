// The plain recurrent cell (Elman 1990), with tanh or with max(0, x).
#pragma once

#include "cells/activations.h"
#include "scanline.h"

namespace scanline {
namespace {

template <class O>
struct Tanh {
  using Vector = typename O::Vector;
  using vector = typename Vector::type;

  static vector output(vector sum) { return Activations<O>::tanh(sum); }
  // The value to keep for `derivative`.
  static vector kept(vector, vector output) { return output; }
  // dh times the derivative.
  static vector backward(vector dh, vector kept) { return Vector::fnma(Vector::mul(dh, kept), kept, dh); }
};

template <class O>
struct Relu {
  using Vector = typename O::Vector;
  using vector = typename Vector::type;

  static vector output(vector sum) { return Vector::positive_part(sum); }
  // 1 or 0: a small output could round to 0 where kept values have half precision.
  static vector kept(vector sum, vector) { return Vector::where_positive(Vector::all(1.0f), sum); }
  static vector backward(vector dh, vector kept) { return Vector::where_positive(dh, kept); }
};

template <class O, template <class> class Function>
struct Rnn {
  using Operand = O;
  using Vector = typename O::Vector;
  using vector = typename Vector::type;

  // Four vectors of units fill a register tile as an LSTM's four sums do.
  static constexpr int sums = 1, unit_vectors = 4, saved = 1, states = 0;
  static constexpr bool state_is_output = false;
  static constexpr int ih_rows[sums] = {0}, hh_rows[sums] = {0};

  static inline __attribute__((always_inline)) vector forward(const vector (&sum)[sums], vector &,
                                                              vector (&values)[saved]) {
    const vector h = Function<O>::output(sum[0]);
    values[0] = Function<O>::kept(sum[0], h);
    return h;
  }

  static inline __attribute__((always_inline)) void backward(const vector (&values)[saved], vector, vector, vector dh,
                                                             vector &, vector (&dsum)[sums]) {
    dsum[0] = Function<O>::backward(dh, values[0]);
  }

  static const float *initial(const scanline_layer &) { return nullptr; }
  static float *final(const scanline_forward &) { return nullptr; }
  static const float *final_gradient(const scanline_backward &) { return nullptr; }
  static float *initial_gradient(const scanline_backward &) { return nullptr; }
};

}  // namespace
}  // namespace scanline
