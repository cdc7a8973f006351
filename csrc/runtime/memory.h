// Large memory blocks that are reused: fresh zeroed pages of the system cost more time than filling them.
#pragma once

#include <cstddef>

namespace scanline {

// Uninitialised memory, 64-byte aligned. Throws std::bad_alloc.
void *take_block(size_t bytes);
void give_block(void *block);

class Block {
 public:
  explicit Block(size_t bytes) : at_(take_block(bytes)) {}
  ~Block() { give_block(at_); }
  Block(const Block &) = delete;
  Block &operator=(const Block &) = delete;
  unsigned char *get() const { return static_cast<unsigned char *>(at_); }

 private:
  void *at_;
};

}  // namespace scanline
