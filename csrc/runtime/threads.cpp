#include "runtime/threads.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

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

// Threads are created when first needed and then wait for work. The pool serves one caller at a time; another one
// meanwhile runs its tasks alone, on its own thread.
class Pool {
 public:
  void run(Work &work, int helpers) {
    std::unique_lock<std::mutex> only(one_caller_, std::try_to_lock);
    if (!only.owns_lock()) return work.run_tasks();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      while (static_cast<int>(threads_.size()) < helpers) {
        try {
          threads_.emplace_back([this] { serve(); });
        } catch (...) {  // no more threads available: fewer will do
          break;
        }
      }
      work_ = &work;
      wanted_ = helpers;
    }
    wake_.notify_all();
    work.run_tasks();
    std::unique_lock<std::mutex> lock(mutex_);
    wanted_ = 0;
    done_.wait(lock, [this] { return busy_ == 0; });
    work_ = nullptr;
  }

 private:
  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return wanted_ > 0; });
      --wanted_;
      ++busy_;
      Work *const work = work_;
      lock.unlock();
      work->run_tasks();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex one_caller_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  Work *work_ = nullptr;
  int wanted_ = 0, busy_ = 0;
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

void use_parallel(scanline_parallel parallel) { external = parallel; }

void run_parallel(int64_t tasks, int threads, void (*task)(void *, int64_t), void *data) {
  if (threads > tasks) threads = static_cast<int>(tasks);
  if (threads <= 1) {
    for (int64_t k = 0; k < tasks; ++k) task(data, k);
    return;
  }
  Work work{task, data, tasks};
  if (const scanline_parallel parallel = external)
    parallel([](void *given) { static_cast<Work *>(given)->run_tasks(); }, &work, static_cast<unsigned>(threads), 0);
  else
    the_pool().run(work, threads - 1);
}

}  // namespace scanline
