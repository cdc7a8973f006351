// The LSTM cell (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).
//
// A cell is a compile-time policy: it says how many products a unit needs and what a step computes from them.
// Time, batches, memory and threads are the driver's (driver/). This file is the reference for the interface:
//
//   sums          products a unit: pre-activations, each W_ih x + W_hh h + biases
//   unit_vectors  vectors of units that one register tile holds; sums * unit_vectors <= tile_vectors
//   saved         values a unit that a step keeps for the backward pass
//   states        float32 states a unit that the cell carries beside its operand copy of h: 0 or 1
//   state_is_output   the state is h itself: its gradient belongs to h0, and the backward pass reads it from y
//   ih_rows, hh_rows  for each sum, its block of H rows in weight_ih and weight_hh (and the biases), or -1:
//                     the sum has no such term; the sums that have one are side by side
//   forward, backward one step of one vector of units
//   initial, ...      where the caller's structures hold the state; null: absent
#pragma once

#include "cells/activations.h"
#include "scanline.h"

namespace scanline {
namespace {

template <class O>
struct Lstm {
  using Operand = O;
  using Vector = typename O::Vector;
  using vector = typename Vector::type;
  using Activate = Activations<O>;

  enum Gate { i, f, g, o };  // input, forget, candidate, output
  static constexpr int sums = 4, unit_vectors = 1, saved = 4, states = 1;
  static constexpr bool state_is_output = false;
  static constexpr int ih_rows[sums] = {0, 1, 2, 3}, hh_rows[sums] = {0, 1, 2, 3};

  // Update the state c and return the output h. `gates`: the values to save.
  static inline __attribute__((always_inline)) vector forward(const vector (&sum)[sums], vector &c,
                                                              vector (&gates)[saved]) {
    gates[i] = Activate::sigmoid(sum[i]);
    gates[f] = Activate::sigmoid(sum[f]);
    gates[g] = Activate::tanh(sum[g]);
    gates[o] = Activate::sigmoid(sum[o]);
    c = Vector::fma(gates[f], c, Vector::mul(gates[i], gates[g]));
    return Vector::mul(gates[o], Activate::tanh(c));
  }

  // From dh, and dc after the step, compute dc before the step and the gradient of the sums.
  static inline __attribute__((always_inline)) void backward(const vector (&gates)[saved], vector c_before, vector c,
                                                             vector dh, vector &dc, vector (&dsum)[sums]) {
    const vector one = Vector::all(1.0f), tanh_c = Activate::tanh(c);
    const vector dh_o = Vector::mul(dh, gates[o]);
    const vector dc_all = Vector::add(dc, Vector::fnma(Vector::mul(dh_o, tanh_c), tanh_c, dh_o));
    dc = Vector::mul(dc_all, gates[f]);
    const vector di = Vector::mul(dc_all, gates[g]), dg = Vector::mul(dc_all, gates[i]);
    const vector df = Vector::mul(dc_all, c_before);
    dsum[i] = Vector::mul(Vector::mul(di, gates[i]), Vector::sub(one, gates[i]));
    dsum[f] = Vector::mul(Vector::mul(df, gates[f]), Vector::sub(one, gates[f]));
    dsum[g] = Vector::fnma(Vector::mul(dg, gates[g]), gates[g], dg);
    dsum[o] = Vector::mul(Vector::mul(dh_o, tanh_c), Vector::sub(one, gates[o]));
  }

  // The state's arrays, (N, H): before the first step, after the last, and their gradients.
  static const float *initial(const scanline_layer &layer) { return layer.c0; }
  static float *final(const scanline_forward &call) { return call.cn; }
  static const float *final_gradient(const scanline_backward &call) { return call.dcn; }
  static float *initial_gradient(const scanline_backward &call) { return call.dc0; }
};

}  // namespace
}  // namespace scanline
