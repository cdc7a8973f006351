// A network that owns its weights, packed in the order in which the kernels read them. One call computes everything
// from the inputs as they were read to the outputs of the head.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernel.h"
#include "runtime/memory.h"
#include "runtime/scratch_memory.h"
#include "scanline.h"

namespace scanline {

struct Meetings;

class Predictor {
 public:
  // The kernels of `set` compute all calls.
  Predictor(const scanline_network &network, const KernelSet &set);

  void predict(const scanline_prediction &call) const;
  void stream(const scanline_stream &call) const;

  bool valid(const scanline_stream &call) const;
  // Whether `network`, of the same shape, has the weights that this predictor was made from.
  bool holds(const scanline_network &network) const;

 private:
  // The weights of one layer in one direction.
  struct Weights {
    const void *packed;
    const float *first_sums;
  };
  struct Buffers;
  struct States;

  uint64_t digest_of(const scanline_network &network) const;
  int64_t width(int64_t layer) const { return layer == 0 ? features_ : directions_ * units_; }
  const Weights &weights(int64_t layer, int64_t direction) const { return weights_[layer * directions_ + direction]; }
  int64_t members(int threads) const;
  void normalise(const void *from, bool bytes, int64_t steps, float *to) const;
  void project(const float *features, float *outputs) const;

  // One sequence.
  void predict_one(const scanline_prediction &call) const;
  template <class Prepare>
  const float *read_one(const Buffers &, int64_t steps, States, int threads, const Prepare &prepare) const;
  const float *read_layers(const Buffers &, int64_t steps, States, const Team &all, Meetings *) const;
  void pool(const Buffers &, const float *y, int64_t steps, float *to) const;
  const float *pool_step(const float *y, void *pooled, int64_t count, float *to) const;
  void finish_stream(const scanline_stream &, int64_t n, int64_t steps, const float *y, const Buffers &) const;

  // Several sequences.
  void predict_many(const scanline_prediction &call) const;
  void stream_many(const scanline_stream &call) const;
  template <class Body>
  void for_each_group(const scanline_layer &batch, bool every_step, const Body &body) const;
  States states_of(const scanline_stream &) const;
  scanline_layer shape(int64_t sequences, int64_t steps, const int64_t *lengths, int threads) const;
  const float *read_group(const Buffers &, const Group &, States) const;
  const float *gather(const float *from, const Group &, float *to) const;
  void scatter(const float *from, const Group &, float *to) const;

  const KernelSet &set_;
  const Kernel &kernel_;
  const int32_t cell_, precision_, pooling_;
  const int64_t layers_, directions_, features_, units_, outputs_;
  int64_t head_columns_;
  std::vector<Weights> weights_;
  float *shift_, *scale_;
  double *head_ = nullptr, *head_bias_ = nullptr;  // null: no head
  std::unique_ptr<Block> memory_;
  uint64_t digest_;
  mutable ScratchMemory scratch_;
};

bool valid_network(const scanline_network &network);
bool valid_prediction(const scanline_prediction &call);

}  // namespace scanline
