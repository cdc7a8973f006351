// One pass over gradients, moments and weights instead of torch's ten.
//
// Every operation rounds as in torch's kernels, which are compiled with contraction: where they fuse a multiplication
// and an addition, the code below names it, and this file is compiled without contraction of its own.
#include "optimizer/adam.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/threads.h"

namespace scanline {
namespace {

#define SCANLINE_INLINE static inline __attribute__((always_inline))

// On the stack, and fewer than from which on MKL computes roots on several threads (1,024).
constexpr int64_t piece_elements = 512;
// Below this, waking threads takes longer than they save.
constexpr int64_t shared_elements = 32768;

struct Piece {
  const scanline_adam_weights *weights;
  int64_t first, count;
};

template <bool fused>
SCANLINE_INLINE float multiply_add(float a, float b, float c) {
  return fused ? __builtin_fmaf(a, b, c) : c + a * b;
}

template <bool fused>
SCANLINE_INLINE void update_piece(const scanline_adam &s, const Piece &piece) {
  // Copies, which the compiler knows not to change with the arrays.
  const float scale = s.gradient_scale, mean_rate = s.mean_rate, decay = s.square_decay, rate = s.square_rate;
  const float correction = s.root_correction, epsilon = s.epsilon, size = s.step_size;
  const int64_t first = piece.first, count = piece.count;
  float *__restrict__ const weight = piece.weights->weight + first;
  float *__restrict__ const mean = piece.weights->mean + first;
  float *__restrict__ const square = piece.weights->square + first;
  float *__restrict__ const gradient = piece.weights->gradient + first;
  float root[piece_elements];
  if (scale != 1.0f)
    for (int64_t k = 0; k < count; ++k) gradient[k] *= scale;
  for (int64_t k = 0; k < count; ++k) {
    const float g = gradient[k];
    mean[k] = multiply_add<fused>(mean_rate, g - mean[k], mean[k]);
    square[k] = multiply_add<fused>(rate * g, g, square[k] * decay);
  }
  if (s.roots)
    s.roots(count, square, root, s.roots_mode);
  else
    for (int64_t k = 0; k < count; ++k) root[k] = std::sqrt(square[k]);
  for (int64_t k = 0; k < count; ++k) weight[k] = weight[k] + size * mean[k] / (root[k] / correction + epsilon);
}

using Update = void (*)(const scanline_adam &, const Piece &);

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma,prefer-vector-width=512"))) void update_avx512(
    const scanline_adam &s, const Piece &piece) {
  update_piece<true>(s, piece);
}
__attribute__((target("avx2,fma"))) void update_avx2(const scanline_adam &s, const Piece &piece) {
  update_piece<true>(s, piece);
}
void update_portable(const scanline_adam &s, const Piece &piece) { update_piece<false>(s, piece); }

Update choose_update() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return update_avx512;
  return avx2 ? update_avx2 : update_portable;
}
#else
void update_portable(const scanline_adam &s, const Piece &piece) { update_piece<true>(s, piece); }

Update choose_update() { return update_portable; }
#endif

}  // namespace

void update_weights(const scanline_adam &step, const scanline_adam_weights *weights, int64_t arrays) {
  static const Update update = choose_update();
  std::vector<Piece> pieces;
  for (int64_t k = 0; k < arrays; ++k)
    for (int64_t first = 0; first < weights[k].count; first += piece_elements)
      pieces.push_back({&weights[k], first, std::min(piece_elements, weights[k].count - first)});
  const auto count = static_cast<int64_t>(pieces.size());
  parallel_for(count, count * piece_elements < shared_elements ? 1 : step.threads,
               [&](int64_t k) { update(step, pieces[k]); });
}

}  // namespace scanline
