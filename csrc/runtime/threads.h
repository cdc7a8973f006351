// Runs tasks on several threads: the caller's OpenMP (use_parallel), or a pool of this library's own.
#pragma once

#include <cstdint>

#include "scanline.h"

namespace scanline {

// Run task(data, k) for all 0 <= k < tasks on at most `threads` threads and return when all are done. Which thread
// runs which task is undefined, so a task's result must depend on its number only.
void run_parallel(int64_t tasks, int threads, void (*task)(void *data, int64_t k), void *data);

template <class Body>
void parallel_for(int64_t tasks, int threads, const Body &body) {
  run_parallel(
      tasks, threads, [](void *data, int64_t k) { (*static_cast<const Body *>(data))(k); },
      const_cast<Body *>(&body));
}

// null: the library's own pool.
void use_parallel(scanline_parallel parallel);

}  // namespace scanline
