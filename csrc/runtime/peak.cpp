#include "runtime/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "runtime/memory.h"

namespace scanline {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Calls work(rounds) until `seconds` have passed. Returns the most rounds a second of all calls.
template <class Work>
double fastest(const Work &work, double seconds) {
  constexpr double part = 2e-4;  // seconds: long for the clock, short for the scheduler
  const auto start = Clock::now();
  double best = 0;
  int64_t rounds = 1;
  do {
    const auto begin = Clock::now();
    work(rounds);
    const double took = seconds_since(begin);
    best = std::max(best, static_cast<double>(rounds) / took);
    if (took < part / 2) rounds *= 2;
  } while (seconds_since(start) < seconds);
  return best;
}

// Calls rate_of_one() on all threads at once and returns the sum. The library's pool would not do: there, one thread
// may run the tasks of two.
template <class Body>
double sum_over_threads(int threads, const Body &rate_of_one) {
  std::vector<double> rates(static_cast<size_t>(threads), 0.0);
  std::atomic<int> missing{threads};
  std::atomic<bool> failed{false};
  const auto run = [&](double &rate) {
    missing.fetch_sub(1);
    while (missing.load() > 0 && !failed.load()) std::this_thread::yield();
    try {
      if (!failed.load()) rate = rate_of_one();
    } catch (...) {
      failed = true;
    }
  };
  std::vector<std::thread> others;
  try {
    for (size_t k = 1; k < rates.size(); ++k) others.emplace_back([&run, &rates, k] { run(rates[k]); });
  } catch (...) {
    failed = true;
  }
  run(rates[0]);
  for (std::thread &each : others) each.join();
  if (failed) throw std::bad_alloc();
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

}  // namespace

double multiply_add_rate(const KernelSet &set, int threads, double seconds) {
  return sum_over_threads(threads, [&] {
    std::vector<float> values(set.peak.values, 1.0f);
    int64_t operations = 0;
    return fastest([&](int64_t rounds) { operations = set.peak.multiply_adds(rounds, values.data()); }, seconds) *
           static_cast<double>(operations);
  });
}

double load_rate(const KernelSet &set, int threads, int64_t bytes, double seconds) {
  constexpr int64_t line = 128;  // floats
  const int64_t count = (bytes + line * 4 - 1) / (line * 4) * line;
  return sum_over_threads(threads, [&] {
    const Block block(static_cast<size_t>(count) * 4);
    auto *const floats = reinterpret_cast<float *>(block.get());
    std::fill(floats, floats + count, 0.0f);
    std::vector<float> sums(line);
    return fastest([&](int64_t rounds) { set.peak.loads(floats, count, rounds, sums.data()); }, seconds) *
           static_cast<double>(count * 4);
  });
}

}  // namespace scanline
