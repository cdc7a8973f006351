// Of the test programs: arrays of numbers, and their comparison to the last bit.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

// Numbers in [-scale, scale), the same at every call; those of another seed differ.
inline std::vector<float> values(int64_t count, float scale, uint32_t seed = 1) {
  std::vector<float> result(static_cast<size_t>(count));
  uint32_t state = seed * 2654435761u;
  for (float &value : result) {
    state = state * 1664525u + 1013904223u;  // Numerical Recipes' generator
    value = scale * (static_cast<float>(state >> 8) / (1 << 23) - 1.0f);
  }
  return result;
}

inline bool equal(const std::vector<float> &a, const std::vector<float> &b) {
  return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}
