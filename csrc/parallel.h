// Running tasks on several threads.
#pragma once

#include <cstdint>

#include "scanline.h"

namespace scanline {

// Runs task(data, k) for every k below `tasks`, on at most `threads` threads, and returns when all are done.
// Which thread runs which task is left to chance, so a task's result may depend on its number alone.
void run_parallel(int64_t tasks, int threads, void (*task)(void *data, int64_t k), void *data);

template <class Body>
void in_parallel(int64_t tasks, int threads, const Body &body) {
  run_parallel(
      tasks, threads, [](void *data, int64_t k) { (*static_cast<const Body *>(data))(k); },
      const_cast<Body *>(&body));
}

void use_parallel(scanline_parallel parallel);

}  // namespace scanline
