#include "runtime/scratch_memory.h"

namespace scanline {
namespace {

// Larger pieces go back to the pool of blocks (runtime/memory.h), which all predictors share.
constexpr size_t most_kept = size_t{1} << 20;

}  // namespace

ScratchMemory::~ScratchMemory() {
  for (auto &slot : idle_) delete slot.load();
}

std::unique_ptr<ScratchMemory::Piece> ScratchMemory::take(size_t bytes) {
  for (auto &slot : idle_) {
    std::unique_ptr<Piece> piece(slot.exchange(nullptr, std::memory_order_acquire));
    if (piece && piece->bytes >= bytes) return piece;
  }
  return std::make_unique<Piece>(bytes);
}

void ScratchMemory::give(std::unique_ptr<Piece> piece) {
  if (piece->bytes > most_kept) return;
  for (auto &slot : idle_) {
    Piece *empty = nullptr;
    if (!slot.compare_exchange_strong(empty, piece.get(), std::memory_order_release)) continue;
    piece.release();
    return;
  }
}

}  // namespace scanline
