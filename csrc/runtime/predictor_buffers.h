// The memory of one call of a predictor.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "driver/sizes.h"
#include "runtime/predictor.h"

namespace scanline {

inline const Team alone{0, 1, [](void *, int64_t) {}, nullptr};

// The states of a stream, or none. `h` and `c` of layer k start at k * stride.
struct Predictor::States {
  float *h, *c;
  int64_t stride;
};

// The memory of one group of sequences, or of a single one.
struct Predictor::Buffers {
  float *x;         // (rows, steps, F), normalised
  float *y[2];      // (rows, steps, D H), of every other layer
  float *hn, *cn;   // (rows, H)
  float *h0, *c0;   // likewise, of a stream
  float *pooled;    // (rows, D H), or (D H,) if every step is kept
  double *sums;     // (D H,)
  int64_t *order;   // (rows,)
  void *kernel[2];  // by direction
  int64_t rows, steps;  // `steps` of x
  int64_t widest;       // features of a layer
  bool every_step;      // of the last layer is kept in y
  size_t bytes;

  Buffers(void *memory, const Predictor &p, int64_t count, int64_t longest, bool keeps)
      : rows(count), steps(longest), every_step(keeps) {
    Arena arena(memory);
    const int64_t width = p.directions_ * p.units_;
    const bool any_y = keeps || p.layers_ > 1;
    x = arena.take<float>(rows * steps * p.features_);
    for (auto &each : y) each = arena.take<float>(any_y ? rows * steps * width : width);
    for (auto *each : {&hn, &cn, &h0, &c0}) *each = arena.take<float>(rows * p.units_);
    pooled = arena.take<float>(rows * width);
    sums = arena.take<double>(width);
    order = arena.take<int64_t>(rows);
    widest = p.layers_ > 1 ? std::max(p.features_, width) : p.features_;
    const size_t row = p.kernel_.row_scratch_bytes(widest, p.units_);
    const size_t group = rows > 1 ? p.kernel_.forward_scratch_bytes({widest, p.units_, 0}, rows) : 0;
    for (auto &each : kernel) each = arena.take<unsigned char>(static_cast<int64_t>(std::max(row, group)));
    bytes = arena.bytes();
  }
};

}  // namespace scanline
