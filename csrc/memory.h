// Large blocks that are used again: asking the system for fresh zeroed pages costs more than filling them.
#pragma once

#include <cstddef>

namespace scanline {

// 64-byte aligned, of undefined content. Throws std::bad_alloc.
void *take_block(size_t bytes);
void give_block(void *block);

class Block {
 public:
  explicit Block(size_t bytes) : at_(take_block(bytes)) {}
  ~Block() { give_block(at_); }
  Block(const Block &) = delete;
  Block &operator=(const Block &) = delete;
  void *get() const { return at_; }

 private:
  void *at_;
};

}  // namespace scanline
