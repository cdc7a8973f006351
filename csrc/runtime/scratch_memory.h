// Scratch memory that calls reuse instead of allocating it.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "runtime/memory.h"

namespace scanline {

// Memory that calls use one after the other instead of allocating it. Calls may run at once: one that gets none
// allocates its own. Without locks: a child of fork cannot inherit a locked one.
class ScratchMemory {
 public:
  struct Piece {
    explicit Piece(size_t length) : bytes(length), block(length) {}
    const size_t bytes;
    const Block block;
  };

  ScratchMemory() = default;
  ~ScratchMemory();
  ScratchMemory(const ScratchMemory &) = delete;
  ScratchMemory &operator=(const ScratchMemory &) = delete;

  std::unique_ptr<Piece> take(size_t bytes);
  void give(std::unique_ptr<Piece> piece);

 private:
  std::atomic<Piece *> idle_[8] = {};
};

// A piece of scratch memory for the time of one call.
class Loan {
 public:
  Loan(ScratchMemory &memory, size_t bytes) : memory_(memory), piece_(memory.take(bytes)) {}
  ~Loan() { memory_.give(std::move(piece_)); }
  Loan(const Loan &) = delete;
  Loan &operator=(const Loan &) = delete;
  unsigned char *get() const { return piece_->block.get(); }

 private:
  ScratchMemory &memory_;
  std::unique_ptr<ScratchMemory::Piece> piece_;
};

}  // namespace scanline
