// Synchronises the threads that compute one group of sequences together (struct Team).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "kernels/kernel.h"
#include "runtime/contention.h"

namespace scanline {

// Waits until ready() for another thread that computes at the same time: for microseconds if it has a core. One that
// waits longer waits for a thread without a core, and sleeps so that the system can give it its own.
template <class Ready>
void wait_for_member(const Ready &ready) {
  for (int spins = 0; spins < 100; ++spins)
    if (ready()) return;
  for (Spin spin(std::chrono::microseconds(200)); !ready();)
    if (!spin.again()) {
      while (!ready()) std::this_thread::sleep_for(std::chrono::microseconds(20));
      return;
    }
}

// A barrier for threads that are known. Each member counts in a cache line of its own, which costs one transfer between
// cores; a shared counter would cost three.
class StepBarrier {
 public:
  // Returns once every member has called it as often as this one.
  void wait(int64_t member, int64_t members) {
    const int64_t round = rounds_[member].count.load(std::memory_order_relaxed) + 1;
    rounds_[member].count.store(round, std::memory_order_release);
    for (int64_t other = 0; other < members; ++other)
      wait_for_member([&] { return rounds_[other].count.load(std::memory_order_acquire) >= round; });
  }

 private:
  struct alignas(64) Round {
    std::atomic<int64_t> count{0};
  } rounds_[max_members];
};

// A thread pool may start tasks late or run them all on one thread, so the number of members cannot be fixed in
// advance. The thread of task 0, the host, waits `arrival_window` for the others. Threads that arrive in time become
// members and share the work; later ones return at once.
class TeamBarrier {
 public:
  explicit TeamBarrier(int64_t wanted) : wanted_(wanted) {}

  // Returns the calling thread's member number, 0 for the host, or -1 if it arrived too late. `members()` is final
  // afterwards.
  int64_t enter(bool host) {
    if (!host) {
      const int64_t place = arrived_.fetch_add(1, std::memory_order_acq_rel) + 1;
      if (place < 1) return -1;
      wait_for_member([this] { return members_.load(std::memory_order_acquire) != 0; });
      return place < members() ? place : -1;
    }
    const auto closes = Clock::now() + arrival_window;
    for (Spin spin(arrival_window); arrived_.load(std::memory_order_acquire) + 1 < wanted_ && Clock::now() < closes;)
      if (!spin.again()) break;
    const int64_t here = arrived_.exchange(closed, std::memory_order_acq_rel) + 1;
    members_.store(here < wanted_ ? here : wanted_, std::memory_order_release);
    return 0;
  }

  int64_t members() const { return members_.load(std::memory_order_acquire); }

  // A barrier: returns once every member has called it as often as this one.
  void wait(int64_t member) { steps_.wait(member, members()); }

 private:
  static constexpr int64_t closed = INT64_MIN / 2;
#if defined(SCANLINE_SANITIZE) || defined(SCANLINE_TSAN)
  static constexpr std::chrono::microseconds arrival_window{20000};  // long enough for sanitized threads
#else
  static constexpr std::chrono::microseconds arrival_window{5};
#endif

  const int64_t wanted_;
  std::atomic<int64_t> arrived_{0}, members_{0};
  StepBarrier steps_;
};

}  // namespace scanline
