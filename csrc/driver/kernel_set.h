// The kernels of one type of operands. To add a cell, include its header and register it in `kernel_set`.
#pragma once

#include "cells/activations.h"
#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/rnn.h"
#include "driver/backward.h"
#include "driver/forward.h"
#include "driver/packing.h"
#include "driver/peak.h"
#include "driver/predict.h"
#include "driver/predict_head.h"
#include "driver/projection.h"
#include "driver/sizes.h"
#include "driver/tile.h"
#include "driver/weight_gradient.h"
#include "kernels/kernel.h"

namespace scanline {
namespace {

template <class Cell>
constexpr Kernel kernel_of() {
  return {Sizes<Cell>::units,
          Cell::sums,
          gates_of<Cell>(),
          packed_bytes<Cell>,
          pack<Cell>,
          forward_scratch_bytes<Cell, false>,
          saved_bytes<Cell, false>,
          forward<Cell, false>,
          row_scratch_bytes<Cell>,
          first_sums<Cell>,
          run_row<Cell>,
          packed_backward_bytes<Cell>,
          pack_backward<Cell>,
          backward_scratch_bytes<Cell, false>,
          gradient_bytes<Cell>,
          backward<Cell, false>,
          finish<Cell>};
}

// With a projection of the cell's outputs.
template <class Cell>
constexpr Kernel projected_kernel_of() {
  static_assert(!Cell::state_is_output, "a state that is the output cannot be projected");
  return {Sizes<Cell>::units,
          Cell::sums,
          gates_of<Cell>(),
          packed_bytes_projected<Cell>,
          pack_projected<Cell>,
          forward_scratch_bytes<Cell, true>,
          saved_bytes<Cell, true>,
          forward<Cell, true>,
          nullptr,
          nullptr,
          nullptr,
          packed_backward_bytes_projected<Cell>,
          pack_backward_projected<Cell>,
          backward_scratch_bytes<Cell, true>,
          gradient_bytes_projected<Cell>,
          backward<Cell, true>,
          finish_projected<Cell>};
}

template <class Operand>
void activate(int tanh, const float *in, float *out, int64_t count) {
  using Vector = typename Operand::Vector;
  for (int64_t k = 0; k < count; k += Vector::width) {
    const int64_t n = smaller(Vector::width, count - k);
    const auto x = load_partial<Vector>(in + k, n);
    store_partial<Vector>(out + k, tanh ? Activations<Operand>::tanh(x) : Activations<Operand>::sigmoid(x), n);
  }
}

// Constant initialisation: no code of this instruction set runs when the library is loaded.
template <class Operand>
constexpr KernelSet kernel_set(const char *name) {
  KernelSet set{name, Operand::precision, Operand::supported, {}, activate<Operand>, peak<Operand>,
                project<Operand>, digest};
  set.cells[SCANLINE_LSTM] = kernel_of<Lstm<Operand>>();
  set.cells[SCANLINE_GRU] = kernel_of<Gru<Operand>>();
  set.cells[SCANLINE_RNN_TANH] = kernel_of<Rnn<Operand, Tanh>>();
  set.cells[SCANLINE_RNN_RELU] = kernel_of<Rnn<Operand, Relu>>();
  set.cells[SCANLINE_LSTM_PROJECTED] = projected_kernel_of<Lstm<Operand>>();
  return set;
}

}  // namespace
}  // namespace scanline
