// A transpose through memory, for instruction sets where its speed does not matter.
#pragma once

namespace scanline {
namespace {

// Exchange v[r] lane k with v[k] lane r.
template <class Vector>
inline void transpose_in_memory(typename Vector::type (&v)[Vector::width]) {
  constexpr int width = Vector::width;
  float rows[width][width], columns[width][width];
  for (int r = 0; r < width; ++r) Vector::store(rows[r], v[r]);
  for (int r = 0; r < width; ++r)
    for (int k = 0; k < width; ++k) columns[k][r] = rows[r][k];
  for (int r = 0; r < width; ++r) v[r] = Vector::load(columns[r]);
}

}  // namespace
}  // namespace scanline
