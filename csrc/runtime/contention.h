// Notices whether other programs compete for the processor's cores, and bounds how long threads wait actively.
//
// On a quiet machine a waiting thread spins and continues within a microsecond; waking a sleeping one takes ten to
// fifty. On a busy machine a spinning thread keeps a core from threads that have work, often from the one that it
// waits for: then waiting threads sleep.
#pragma once

#include <chrono>
#include <cstdint>

namespace scanline {

using Clock = std::chrono::steady_clock;

// Whether a thread of this library lost its core to another program a short while ago.
bool contended();

// Whether to look for it, which is so at first. Not beside threads of the same program that wait actively for long
// (OpenMP's by default): they take the core themselves, so that every sleep would be another sign of a busy machine.
void watch_contention(bool watch);

// The most threads to compute on: all, or, while the machine stays busy, one fewer than there are cores. A thread that
// shares its core would hold up the others at the end of every pass by the time slices of the other program.
int most_threads();

// Bounded active waiting:
//
//     for (Spin spin(limit); !ready();)
//       if (!spin.again()) return sleep_until_ready();
class Spin {
 public:
  explicit Spin(std::chrono::microseconds limit) : limit_(limit) {}

  // Pauses for a few nanoseconds. Returns whether to go on spinning.
  bool again() {
    pause();
    return ++pauses_ % pauses_between_checks != 0 || check();
  }

 private:
  static constexpr int64_t pauses_between_checks = 64;

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  bool check();

  const std::chrono::microseconds limit_;
  int64_t pauses_ = 0;
  Clock::time_point begin_, last_;
};

}  // namespace scanline
