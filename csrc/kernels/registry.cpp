#include "kernels/registry.h"

#include <atomic>
#include <cstring>

namespace scanline {

// Each is defined in the file of its name; CMakeLists.txt decides which are compiled.
extern const KernelSet avx512_bf16_kernels, avx512_kernels, avx2_kernels, neon_kernels, portable_kernels;

namespace {

constexpr const KernelSet *sets[] = {  // best first
#if defined(SCANLINE_AVX512_BF16)
    &avx512_bf16_kernels,
#endif
#if defined(SCANLINE_AVX512)
    &avx512_kernels,
#endif
#if defined(SCANLINE_AVX2)
    &avx2_kernels,
#endif
#if defined(SCANLINE_NEON)
    &neon_kernels,
#endif
    &portable_kernels};

std::atomic<const KernelSet *> chosen[2] = {{nullptr}, {nullptr}};  // by precision

}  // namespace

bool known_precision(int precision) { return precision == SCANLINE_FLOAT32 || precision == SCANLINE_BFLOAT16; }

const KernelSet *nth_set(int precision, int index) {
  for (const KernelSet *const set : sets)
    if (set->precision == precision && set->supported() && index-- == 0) return set;
  return nullptr;
}

const KernelSet *set_in_use(int precision) {
  const KernelSet *const set = chosen[precision];
  return set ? set : nth_set(precision, 0);
}

int choose_set(int precision, const char *name) {
  if (!known_precision(precision)) return SCANLINE_BAD_ARGUMENT;
  if (!name) {
    chosen[precision] = nullptr;
    return SCANLINE_OK;
  }
  for (int k = 0; const KernelSet *const set = nth_set(precision, k); ++k) {
    if (std::strcmp(set->name, name) != 0) continue;
    chosen[precision] = set;
    return SCANLINE_OK;
  }
  return SCANLINE_NO_SUCH_KERNEL;
}

}  // namespace scanline
