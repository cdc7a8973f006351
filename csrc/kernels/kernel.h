// The interface between the passes (runtime/pass.cpp) and the kernels.
//
// Plain data and function pointers only: kernels are compiled for other instruction sets than their callers, so
// nothing that has code of its own may cross this interface.
#pragma once

#include "scanline.h"

namespace scanline {

// The sizes of a layer: F, H, and P of the projection of its outputs, or 0.
struct Shape {
  int64_t features, units, projection;
};

// Sequences of a batch that are computed together from the first step to the last.
struct Group {
  const int64_t *order;    // (count,), each row's sequence in the batch; longest first
  const int64_t *lengths;  // (count,), in that order
  int64_t count;
  int64_t steps;  // the sum of `lengths`
  int64_t saved;  // steps of the preceding groups in the reserve
};

// Threads that share one group, each computing some blocks of units. `wait` returns once every member has called
// it.
struct Team {
  int64_t member, members;
  void (*wait)(void *data, int64_t member);
  void *data;
};
constexpr int64_t max_members = 8;

// One sequence in one direction, for a prediction of it alone.
struct Row {
  int64_t features, units, steps;
  const float *x;
  int64_t x_step;  // negative to read from the last step to the first
  const float *h0, *c0;  // (H,), or null: zeros
  const void *packed;
  const float *first_sums;  // of Kernel::first_sums, or null; used if h0 is null
  float *y;
  int64_t y_step;  // 0: every step overwrites the outputs of the one before
  float *cn;  // (H,), or null: not wanted
  // Of a team, whose scratch memory begins as zeros: the number of steps that it has read in this memory before, and
  // how a member waits until ready(data) for another one.
  int64_t first_step;
  void (*wait)(bool (*ready)(const void *data), const void *data);
};

// One cell on one instruction set with one type of operands. `units` of a function is H.
struct Kernel {
  int block_units;  // units of a block
  int sums;         // products a unit (cells/lstm.h)
  int gates;        // blocks of H rows in weight_ih and weight_hh

  size_t (*packed_bytes)(const Shape &);
  // Packs the blocks first <= b < end.
  void (*pack)(const scanline_layer &, void *packed, int64_t first, int64_t end);
  size_t (*forward_scratch_bytes)(const Shape &, int64_t count);
  // Bytes that one step of one sequence keeps for the backward pass.
  size_t (*saved_bytes)(int64_t units);
  // saved: the group's place in the reserve, or null. scratch: shared by the team.
  void (*forward)(const scanline_forward &, const Group &, const void *packed, unsigned char *saved,
                  void *scratch, const Team &);

  // `row` gives the bits of `forward`; the three are null for a cell with a projection. first_sums: (ceil(H / block_units), sums, block_units).
  size_t (*row_scratch_bytes)(int64_t features, int64_t units);
  void (*first_sums)(int64_t features, int64_t units, const void *packed, float *sums);
  void (*row)(const Row &, void *scratch, const Team &);

  // Weights in the order in which the backward pass reads them; `inputs`: for dx too.
  size_t (*packed_backward_bytes)(const Shape &);
  void (*pack_backward)(const scanline_layer &, bool inputs, void *packed);
  size_t (*backward_scratch_bytes)(const Shape &, int64_t count);
  // The gradient of weights and biases in the kernel's own order, one for each thread.
  size_t (*gradient_bytes)(const Shape &);
  // gradient: is added to; null: not wanted.
  void (*backward)(const scanline_backward &, const Group &, const void *packed, const unsigned char *saved,
                   void *scratch, float *gradient);
  // Adds up `parts` gradients and writes the caller's, for the sums first <= b * sums + sum < end.
  void (*finish)(const scanline_backward &, const float *const *gradients, int64_t parts, int64_t first,
                 int64_t end);
};

constexpr int cell_count = SCANLINE_LSTM_PROJECTED + 1;

// Loops at the limits of an instruction set (driver/peak.h).
struct Peak {
  size_t values;  // of multiply_adds, in floats
  int64_t (*multiply_adds)(int64_t rounds, float *values);
  void (*loads)(const float *from, int64_t count, int64_t rounds, float *result);
};

// All cells on one instruction set with one type of operands.
struct KernelSet {
  const char *name;
  int precision;  // enum scanline_precision
  bool (*supported)();
  Kernel cells[cell_count];  // by enum scanline_cell
  void (*activate)(int tanh, const float *in, float *out, int64_t count);
  Peak peak;
  // out[m] = bias[m] + sum over k of in[k] weights[k][m], in float64. `weights` is (count, columns), columns a multiple
  // of 8; `outputs` of them are wanted.
  void (*project)(const float *in, int64_t count, const double *weights, const double *bias, int64_t columns,
                  int64_t outputs, float *out);
  uint64_t (*digest)(const float *numbers, int64_t count);
};

}  // namespace scanline
