// What the driver (lstm.cpp) asks of a kernel, and what a kernel is told. Plain data only: the kernels are
// compiled for other instruction sets than the driver, so nothing with code of its own may pass between them.
#pragma once

#include "scanline.h"

namespace scanline {

// Some sequences of a batch, that one thread reads together from the first step to the last.
struct Group {
  const int64_t *order;    // (count,), which sequence of the batch each is; longest first
  const int64_t *lengths;  // (count,), in that order
  int64_t count;
  int64_t steps;  // the sum of `lengths`
  int64_t saved;  // steps that the groups before this one keep in the reserve
};

// Threads that compute one group together, each some blocks of units, because there are too few sequences to
// share out. `wait` returns once every member has called it.
struct Team {
  int64_t member, members;
  void (*wait)(void *data, int64_t member);
  void *data;
};
constexpr int64_t most_members = 8;

struct Kernel {
  const char *name;
  int precision;
  int width;  // units of a block
  bool (*supported)();

  size_t (*packed_bytes)(int64_t features, int64_t units);
  // The share of blocks from `first` up to `end`.
  void (*pack)(const scanline_layer &, void *packed, int64_t first, int64_t end);
  size_t (*forward_scratch_bytes)(int64_t features, int64_t units, int64_t count);
  // Bytes that a backward pass needs to know of one step of one sequence.
  size_t (*saved_bytes)(int64_t units);
  void (*forward)(const scanline_forward &, const Group &, const void *packed, unsigned char *saved,
                  void *scratch, const Team &);

  // Weights as the gradients of states and inputs need them.
  size_t (*packed_backward_bytes)(int64_t features, int64_t units);
  void (*pack_backward)(const scanline_layer &, bool inputs, void *packed);
  size_t (*backward_scratch_bytes)(int64_t features, int64_t units, int64_t count);
  // The gradient of weights and biases in the kernel's own order: one for each thread, summed at the end.
  size_t (*gradient_bytes)(int64_t features, int64_t units);
  void (*backward)(const scanline_backward &, const Group &, const void *packed, const unsigned char *saved,
                   void *scratch, float *gradient);
  // Sums `parts` gradients into the caller's, for gates of blocks from `first` up to `end`, four to a block.
  void (*finish)(const scanline_backward &, const float *const *gradients, int64_t parts, int64_t first,
                 int64_t end);

  void (*activate)(int tanh, const float *in, float *out, int64_t count);
};

// Best first; ends with a null pointer. Which of them are compiled in depends on the processor's family.
extern const Kernel *const kernels[];

}  // namespace scanline
