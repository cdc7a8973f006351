// A projection of the cell's outputs between two steps, and the functions of a kernel that need to know of it.
//
// The cell's outputs are called m, (N, H), and h = W_hr m, (N, P), is what the caller gets and the next step reads. m is
// written to the rows of the next step, behind [h | x], and the projection, a cell of its own (cells/projection.h), reads
// it there and writes h to its place. Both cells' weights, and both gradients, are one after the other.
#pragma once

#include <cstdint>
#include <cstring>

#include "cells/projection.h"
#include "driver/backward_step.h"
#include "driver/forward_step.h"
#include "driver/input_gradient.h"
#include "driver/packing.h"
#include "driver/sizes.h"
#include "driver/weight_gradient.h"
#include "kernels/kernel.h"
#include "scanline.h"

namespace scanline {
namespace {

template <class Cell>
using ProjectionOf = Projection<typename Cell::Operand>;

// The projection as a layer: P units that read H values.
inline Shape projection_of(const Shape &shape) { return {0, shape.projection, shape.units}; }
inline scanline_layer projection_of(const scanline_layer &layer) {
  scanline_layer projection{};
  projection.units = layer.projection;
  projection.projection = layer.units;
  projection.weight_hh = layer.weight_hr;
  return projection;
}
inline Shape shape_of(const scanline_layer &layer) { return {layer.features, layer.units, layer.projection}; }

// Its sizes, in the rows of the layer.
template <class Cell>
Sizes<ProjectionOf<Cell>> projection_of(const Sizes<Cell> &z) {
  Sizes<ProjectionOf<Cell>> projection(0, z.R, z.H);
  projection.row_words = z.row_words;
  return projection;
}

template <class Cell>
size_t packed_bytes_projected(const Shape &shape) {
  return packed_bytes<Cell>(shape) + packed_bytes<ProjectionOf<Cell>>(projection_of(shape));
}

template <class Cell>
void pack_projected(const scanline_layer &layer, void *packed, int64_t first, int64_t end) {
  pack<Cell>(layer, packed, first, end);
  const Sizes<Cell> z(layer);
  const int64_t blocks = projection_of(z).blocks;
  pack<ProjectionOf<Cell>>(projection_of(layer), static_cast<unsigned char *>(packed) + packed_bytes<Cell>(shape_of(layer)),
                           blocks * first / z.blocks, blocks * end / z.blocks);
}

template <class Cell>
size_t packed_backward_bytes_projected(const Shape &shape) {
  return packed_backward_bytes<Cell>(shape) + packed_backward_bytes<ProjectionOf<Cell>>(projection_of(shape));
}

template <class Cell>
void pack_backward_projected(const scanline_layer &layer, bool inputs, void *packed) {
  pack_backward<Cell>(layer, inputs, packed);
  pack_backward<ProjectionOf<Cell>>(projection_of(layer), false,
                                    static_cast<unsigned char *>(packed) + packed_backward_bytes<Cell>(shape_of(layer)));
}

template <class Cell>
size_t gradient_bytes_projected(const Shape &shape) {
  return gradient_bytes<Cell>(shape) + gradient_bytes<ProjectionOf<Cell>>(projection_of(shape));
}

template <class Cell>
void finish_projected(const scanline_backward &call, const float *const *gradients, int64_t parts, int64_t first,
                      int64_t end) {
  finish<Cell>(call, gradients, parts, first, end);
  scanline_backward projection{};
  projection.layer = projection_of(call.layer);
  projection.dweight_hh = call.dweight_hr;
  const Sizes<Cell> z(call.layer);
  const int64_t blocks = projection_of(z).blocks, sums = z.blocks * Cell::sums;
  const auto start = static_cast<int64_t>(gradient_bytes<Cell>(shape_of(call.layer)) / sizeof(float));
  finish_from<ProjectionOf<Cell>>(projection, gradients, start, parts, blocks * first / sums, blocks * end / sums);
}

// The projection in a forward pass; nothing for a layer without one.
template <class Cell, bool projected>
struct ForwardProjection {
  ForwardProjection(const Sizes<Cell> &, const void *, const Team &) {}
};

template <class Cell>
struct ForwardProjection<Cell, true> {
  const MemberBlocks<ProjectionOf<Cell>> blocks;
  const int64_t outputs_at;

  ForwardProjection(const Sizes<Cell> &z, const void *packed, const Team &team)
      : blocks(projection_of(z), static_cast<const uint32_t *>(packed) + packed_words(z), team),
        outputs_at(z.outputs_at) {}

  Interval units() const { return blocks.units(); }

  // From m, which all members have written to `rows`, compute h, in the rows and in `outputs`.
  void compute(uint32_t *rows, float *const *outputs, int64_t count) const {
    ForwardStep<ProjectionOf<Cell>> step{};
    step.rows = rows + outputs_at;
    step.next_rows = rows;
    step.outputs = outputs;
    step.count = count;
    blocks.compute(step);
  }
};

// The projection in a backward pass, and its part of the scratch memory.
template <class Cell, bool projected>
struct BackwardProjection {
  BackwardProjection(Arena &, const Sizes<Cell> &, int64_t) {}
};

template <class Cell>
struct BackwardProjection<Cell, true> {
  using Operand = typename Cell::Operand;

  const Sizes<ProjectionOf<Cell>> z;
  const int64_t lanes, lanes_of_m;
  float *dm;        // [row][unit]
  uint32_t *dsums;  // the gradient of h as operands, [row][unit]
  Collected<ProjectionOf<Cell>> collected;
  const float **m;      // each row's at the current step
  const float **no_dy;  // nulls: the gradient of m is in dm only

  BackwardProjection(Arena &arena, const Sizes<Cell> &of, int64_t count)
      : z(projection_of(of)),
        lanes(z.blocks * z.units),
        lanes_of_m(of.blocks * of.units),
        dm(arena.take<float>(count * lanes_of_m)),
        dsums(arena.take<uint32_t>(count * z.sum_words)),
        collected(arena, z, count),
        m(arena.take<const float *>(count)),
        no_dy(arena.take<const float *>(count)) {}

  void clear(int64_t count) {
    std::memset(dm, 0, static_cast<size_t>(count * lanes_of_m) * sizeof(float));  // the lanes beyond H stay 0
    for (int64_t r = 0; r < count; ++r) no_dy[r] = nullptr;
  }

  // From dh, the part of the gradient of h that comes from the step after, and dy, compute dm. saved_m: of this step.
  // gradient: of the weights, or null.
  void compute(const uint32_t *weights, const float *dh, const float *const *dy, const float *saved_m, int64_t count,
               float *gradient) {
    const int64_t entries = round_up(count, Operand::per_word) / Operand::per_word;
    if (gradient && collected.filled + entries > collected.capacity) add_weight_gradient(z, collected, gradient);
    BackwardStep<ProjectionOf<Cell>> step{};
    step.dh = dh;
    step.dh_stride = lanes;
    step.dsums = dsums;
    step.count = count;
    for (int64_t b = 0; b < z.blocks; ++b)
      sums_gradient_of_block(z, step, dy, b, gradient ? &collected : nullptr, nullptr);
    if (gradient) {
      for (int64_t r = 0; r < count; ++r) m[r] = saved_m + r * lanes_of_m;
      collect_rows(z, collected, m, m, count);  // without features the second is not read
    }
    input_gradient<ProjectionOf<Cell>, 0, 1>(z, dsums, weights, z.R, count,
                                             [&](int64_t r) { return dm + r * lanes_of_m; });
  }
};

}  // namespace
}  // namespace scanline
