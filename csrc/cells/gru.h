// The gated recurrent unit (Cho et al. 2014), with the reset gate after the recurrent product as in torch and cuDNN.
#pragma once

#include "cells/activations.h"
#include "scanline.h"

namespace scanline {
namespace {

template <class O>
struct Gru {
  using Operand = O;
  using Vector = typename O::Vector;
  using vector = typename Vector::type;
  using Activate = Activations<O>;

  // The candidate's products stay apart, as the reset gate scales that of h only. With them at the ends, the sums that
  // have a product with x are adjacent, and so are those with h.
  enum Sum { n_x, r, z, n_h };  // candidate from x, reset gate, update gate, candidate from h
  enum Value { reset, update, candidate, from_h };
  static constexpr int sums = 4, unit_vectors = 1, saved = 4, states = 1;
  static constexpr bool state_is_output = true;
  static constexpr int ih_rows[sums] = {2, 0, 1, -1}, hh_rows[sums] = {-1, 0, 1, 2};

  // `h`: the output before the step, then the new one in float32; products read its operand copy.
  static inline __attribute__((always_inline)) vector forward(const vector (&sum)[sums], vector &h,
                                                              vector (&values)[saved]) {
    values[reset] = Activate::sigmoid(sum[r]);
    values[update] = Activate::sigmoid(sum[z]);
    values[candidate] = Activate::tanh(Vector::fma(values[reset], sum[n_h], sum[n_x]));
    values[from_h] = O::storable(sum[n_h]);
    h = Vector::fma(values[update], Vector::sub(h, values[candidate]), values[candidate]);
    return h;
  }

  // `dh` comes from y and the products of the next step, `dstate` through its update gate.
  static inline __attribute__((always_inline)) void backward(const vector (&values)[saved], vector h_before, vector,
                                                             vector dh, vector &dstate, vector (&dsum)[sums]) {
    const vector one = Vector::all(1.0f), dh_all = Vector::add(dh, dstate);
    dstate = Vector::mul(dh_all, values[update]);
    const vector dn = Vector::mul(dh_all, Vector::sub(one, values[update]));
    const vector dz = Vector::mul(dh_all, Vector::sub(h_before, values[candidate]));
    dsum[n_x] = Vector::fnma(Vector::mul(dn, values[candidate]), values[candidate], dn);
    dsum[n_h] = Vector::mul(dsum[n_x], values[reset]);
    dsum[r] = Vector::mul(Vector::mul(dsum[n_h], values[from_h]), Vector::sub(one, values[reset]));
    dsum[z] = Vector::mul(Vector::mul(dz, values[update]), Vector::sub(one, values[update]));
  }

  static const float *initial(const scanline_layer &layer) { return layer.h0; }
  // The driver copies hn from the outputs, and passes dhn and dh0 by `dh`.
  static float *final(const scanline_forward &) { return nullptr; }
  static const float *final_gradient(const scanline_backward &) { return nullptr; }
  static float *initial_gradient(const scanline_backward &) { return nullptr; }
};

}  // namespace
}  // namespace scanline
