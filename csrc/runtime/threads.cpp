#include "runtime/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/contention.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace scanline {
namespace {

std::atomic<scanline_parallel> external{nullptr};

// Tasks that threads take one by one.
struct Work {
  void (*task)(void *, int64_t);
  void *data;
  int64_t tasks;
  std::atomic<int64_t> next{0};

  void run_tasks() {
    for (int64_t k; (k = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) task(data, k);
  }
};

// How long an idle thread waits actively for its next work: longer than the pauses between the passes of one training
// step, shorter than a time slice.
constexpr std::chrono::microseconds idle_spin{1000};
// How long the caller waits actively for the last thread.
constexpr std::chrono::microseconds end_spin{1000};

// Threads are created when first needed and then wait for work. The pool serves one caller at a time; another one
// meanwhile runs its tasks alone, on its own thread. The caller never waits for a thread that has not started: on a
// busy machine it computes everything itself before a helper gets a core.
class Pool {
 public:
  void run(Work &work, int helpers) {
    std::unique_lock<std::mutex> only(one_caller_, std::try_to_lock);
    if (!only.owns_lock()) return work.run_tasks();
    add_threads(helpers);
    work_ = &work;
    // Sequentially consistent, here and below: either this thread sees that a helper sleeps, or the helper sees the
    // places before it falls asleep. The same for the caller's sleep at the end.
    places_.store(helpers);
    if (sleepers_.load() > 0) {
      { const std::lock_guard<std::mutex> lock(mutex_); }
      for (int helper = 0; helper < helpers; ++helper) wake_.notify_one();
    }
    work.run_tasks();
    places_.store(0);
    for (Spin spin(end_spin); busy_.load() > 0;)
      if (!spin.again()) return sleep_until_done();
  }

 private:
  void add_threads(int wanted) {
    while (static_cast<int>(threads_.size()) < wanted) {
      try {
        threads_.emplace_back([this] { serve(); });
      } catch (...) {  // no more threads available: fewer will do
        break;
      }
    }
  }

  void sleep_until_done() {
    std::unique_lock<std::mutex> lock(mutex_);
    caller_sleeps_.store(true);
    done_.wait(lock, [this] { return busy_.load() == 0; });
    caller_sleeps_.store(false);
  }

  void serve() {
    for (;;) {
      wait_for_work();
      // Busy before it takes a place: the caller closes the places first and counts the busy threads afterwards.
      ++busy_;
      if (take_place()) work_->run_tasks();
      if (--busy_ == 0 && caller_sleeps_.load()) {
        { const std::lock_guard<std::mutex> lock(mutex_); }
        done_.notify_one();
      }
    }
  }

  void wait_for_work() {
    for (Spin spin(idle_spin); places_.load() <= 0;)
      if (!spin.again()) {
        std::unique_lock<std::mutex> lock(mutex_);
        ++sleepers_;
        wake_.wait(lock, [this] { return places_.load() > 0; });
        --sleepers_;
        return;
      }
  }

  bool take_place() {
    int places = places_.load();
    while (places > 0 && !places_.compare_exchange_weak(places, places - 1)) {
    }
    return places > 0;
  }

  std::mutex one_caller_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  Work *work_ = nullptr;
  std::atomic<int> places_{0};  // for helpers that may still join the work
  std::atomic<int> busy_{0}, sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
};

// Never destroyed: its threads may outlive all destructors at exit. A forked child has none of the threads, so it
// starts with a new pool.
std::atomic<Pool *> pool{nullptr};

Pool &the_pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    pool = new Pool;
#if !defined(_WIN32)
    pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
#endif
  });
  return *pool;
}

}  // namespace

void use_parallel(scanline_parallel parallel) {
  external = parallel;
  watch_contention(parallel == nullptr);
}

void run_parallel(int64_t tasks, int threads, void (*task)(void *, int64_t), void *data) {
  const scanline_parallel parallel = external;
  if (!parallel) threads = std::min(threads, most_threads());
  if (threads > tasks) threads = static_cast<int>(tasks);
  if (threads <= 1) {
    for (int64_t k = 0; k < tasks; ++k) task(data, k);
    return;
  }
  Work work{task, data, tasks};
  if (!parallel) return the_pool().run(work, threads - 1);
  const auto join = [](void *given) { static_cast<Work *>(given)->run_tasks(); };
  parallel(join, &work, static_cast<unsigned>(threads), 0);
}

}  // namespace scanline
