#include "runtime/contention.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <thread>

namespace scanline {
namespace {

using std::chrono::milliseconds;

// Two looks at the clock are a microsecond apart. Interrupts take less than this time; another program that shares
// the core gets a slice of one to four milliseconds.
constexpr std::chrono::microseconds lost_core{300};
// How long threads sleep instead of spinning before they try again; doubled as long as the machine stays busy.
constexpr milliseconds first_period{100}, longest_period{800};

std::atomic<Clock::rep> busy_until{0}, period{0};
std::atomic<bool> watching{true};

Clock::rep ticks(Clock::duration duration) { return duration.count(); }

void record_contention(Clock::rep now) {
  Clock::rep until = busy_until.load(std::memory_order_relaxed);
  if (now < until) return;
  const Clock::rep before = period.load(std::memory_order_relaxed);
  const bool still_busy = now - until < before;
  const Clock::rep next =
      still_busy ? std::min(2 * before, ticks(longest_period)) : ticks(first_period);
  if (busy_until.compare_exchange_strong(until, now + next, std::memory_order_relaxed))
    period.store(next, std::memory_order_relaxed);
}

}  // namespace

void watch_contention(bool watch) { watching.store(watch, std::memory_order_relaxed); }

bool contended() {
  if (!watching.load(std::memory_order_relaxed)) return false;
#if defined(SCANLINE_TSAN)  // both ways, whatever the machine does
  static std::atomic<unsigned> calls{0};
  return calls.fetch_add(1, std::memory_order_relaxed) % 3 == 2;
#else
  return ticks(Clock::now().time_since_epoch()) < busy_until.load(std::memory_order_relaxed);
#endif
}

int most_threads() {
  // Not after a single loss, which a quiet machine sees too: the core was lost again when the first period was over.
  if (!contended() || period.load(std::memory_order_relaxed) <= ticks(first_period)) return INT_MAX;
  static const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, cores - 1);
}

bool Spin::check() {
  const Clock::time_point now = Clock::now();
  if (pauses_ == pauses_between_checks) {
    begin_ = last_ = now;
    return !contended();
  }
  const bool lost = now - last_ > lost_core;
  last_ = now;
  if (lost) record_contention(ticks(now.time_since_epoch()));
  return !lost && now - begin_ < limit_;
}

}  // namespace scanline
