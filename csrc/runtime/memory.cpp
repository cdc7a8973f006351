#include "runtime/memory.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <pthread.h>
#include <sys/mman.h>
#endif

namespace scanline {
namespace {

// Sanitizers need the system's blocks with their exact length, to detect accesses past the end.
#if defined(__linux__) && !defined(SCANLINE_SANITIZE)
constexpr size_t smallest_kept = size_t{1} << 20, huge_page = size_t{2} << 20;
#else
constexpr size_t smallest_kept = ~size_t{0}, huge_page = 64;
#endif

// Round up to an eighth of a power of two, so that similar sizes can reuse each other's blocks.
size_t rounded(size_t bytes) {
  size_t step = huge_page;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

void *from_system(size_t bytes) {
#if defined(_WIN32) || defined(__APPLE__)
  void *const block = std::aligned_alloc(64, (bytes + 64) / 64 * 64);
#else
  void *block = nullptr;  // aligned_alloc would need a multiple of 64, and hide accesses past the end
  if (posix_memalign(&block, 64, bytes ? bytes : 1) != 0) block = nullptr;
#endif
  return block ? block : throw std::bad_alloc();
}

// Blocks of at least `smallest_kept` bytes, mapped on huge pages; those given back are kept for the next call.
class BlockPool {
 public:
  void *take(size_t bytes) {
    if (bytes < smallest_kept) return from_system(bytes);
    const size_t size = rounded(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto fitting = idle_.lower_bound(size);
    if (fitting != idle_.end() && fitting->first / 2 <= size) {
      void *const block = fitting->second;
      in_use_.emplace(block, fitting->first);
      idle_.erase(fitting);
      return block;
    }
    // No idle block fits. Return all to the system, so that never more is held than was in use at once.
    for (const auto &[length, block] : idle_) unmap(block, length);
    idle_.clear();
    void *const block = map(size);
    in_use_.emplace(block, size);
    return block;
  }

  void give(void *block) {
    if (!block) return;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = in_use_.find(block);
      if (found != in_use_.end()) {
        idle_.emplace(found->second, block);
        in_use_.erase(found);
        return;
      }
    }
    std::free(block);
  }

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
#if defined(__linux__)
  static void *map(size_t size) {
    // One huge page more than needed, so that the block can be aligned to huge pages.
    void *const at = mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    auto *const first = static_cast<unsigned char *>(at);
    const size_t skipped = (huge_page - reinterpret_cast<size_t>(at) % huge_page) % huge_page;
    if (skipped) munmap(first, skipped);
    if (skipped < huge_page) munmap(first + skipped + size, huge_page - skipped);
    madvise(first + skipped, size, MADV_HUGEPAGE);  // only a hint: small pages work as well
    return first + skipped;
  }
  static void unmap(void *block, size_t size) { munmap(block, size); }
#else
  static void *map(size_t) { throw std::bad_alloc(); }
  static void unmap(void *, size_t) {}
#endif

  std::mutex mutex_;
  std::multimap<size_t, void *> idle_;
  std::map<void *, size_t> in_use_;
};

// Never destroyed: tensors may return blocks during process exit. Locked during fork, so that the child gets a
// consistent copy.
BlockPool &block_pool() {
  static BlockPool *const instance = [] {
    auto *const created = new BlockPool;
#if defined(__linux__)
    pthread_atfork([] { block_pool().lock(); }, [] { block_pool().unlock(); }, [] { block_pool().unlock(); });
#endif
    return created;
  }();
  return *instance;
}

}  // namespace

void *take_block(size_t bytes) { return block_pool().take(bytes); }
void give_block(void *block) { block_pool().give(block); }

}  // namespace scanline
