// Serves the library's functions over a pipe, for tests on an emulated processor or under a checker that cannot run a
// whole Python process. tests/kernels/remote.py is the client.
//
// A request is one call. It consists of a frame, which holds the C arguments or the structures that they point to, and
// of arrays; the address of each array is written to its place in the frame before the call. The reply is the result
// and the arrays that the request marks as returned. Both ends are little-endian with 64-bit pointers.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "scanline.h"

namespace {

struct Request {
  int64_t function, calls, frame_bytes, arrays;
};

// `within`: the array that contains this one, which then starts at `offset`, or -1.
struct Array {
  int64_t place, bytes, sent, returned, within, offset;
};

// The arguments of functions that take no structure: numbers first, then pointers.
struct Frame {
  int64_t numbers[5];
  void *pointers[2];
};
constexpr size_t text_bytes = 128;

struct Free {
  void operator()(void *block) const { std::free(block); }
};
using Memory = std::unique_ptr<void, Free>;

// Exactly as long as requested and uninitialised, so that a memory checker detects accesses past the end and reads of
// values that the library should have written.
Memory take(int64_t bytes) {
  void *block = nullptr;
  if (bytes < 0 || posix_memalign(&block, 64, static_cast<size_t>(bytes)) != 0) {
    std::fprintf(stderr, "scanline-remote: cannot allocate %lld bytes\n", static_cast<long long>(bytes));
    std::exit(1);
  }
  return Memory(block);
}

void receive(void *to, int64_t bytes) {
  if (std::fread(to, 1, static_cast<size_t>(bytes), stdin) != static_cast<size_t>(bytes)) {
    std::fputs("scanline-remote: truncated request\n", stderr);
    std::exit(1);
  }
}

void send(const void *from, int64_t bytes) { std::fwrite(from, 1, static_cast<size_t>(bytes), stdout); }

// The sizes that both ends must agree on.
int64_t layout(int64_t *to) {
  to[0] = scanline_abi();
  to[1] = sizeof(scanline_layer);
  to[2] = sizeof(scanline_forward);
  to[3] = sizeof(scanline_backward);
  return 0;
}

// Returns 0 for a null text.
int64_t copy_text(const char *text, void *to) {
  std::strncpy(static_cast<char *>(to), text ? text : "", text_bytes);
  return text != nullptr;
}

// Function numbers are those of tests/kernels/remote.py.
int64_t call(int64_t function, const void *frame, int calls) {
  const auto &[numbers, pointers] = *static_cast<const Frame *>(frame);
  const int first = static_cast<int>(numbers[0]), second = static_cast<int>(numbers[1]);
  switch (function) {
    case 0: return layout(static_cast<int64_t *>(pointers[0]));
    case 1: return copy_text(scanline_error(first), pointers[0]);
    case 2: return copy_text(scanline_kernel(first, second), pointers[0]);
    case 3: return copy_text(scanline_kernel_in_use(first), pointers[0]);
    case 4: return scanline_use_kernel(first, static_cast<const char *>(pointers[0]));
    case 5: return scanline_reserve_form(first, second, static_cast<int64_t *>(pointers[0]));
    case 6: return static_cast<int64_t>(scanline_packed_bytes(first, second, numbers[2], numbers[3], numbers[4]));
    case 7:
      return scanline_activate(first, static_cast<const float *>(pointers[0]), static_cast<float *>(pointers[1]),
                               numbers[1]);
    case 8: return scanline_run_forward(static_cast<const scanline_forward *>(frame), calls);
    case 9: return scanline_run_backward(static_cast<const scanline_backward *>(frame), calls);
    default: std::fprintf(stderr, "scanline-remote: unknown function %lld\n", static_cast<long long>(function));
  }
  std::exit(1);
}

}  // namespace

int main() {
  for (Request request; std::fread(&request, sizeof request, 1, stdin) == 1;) {
    const Memory frame = take(request.frame_bytes);
    receive(frame.get(), request.frame_bytes);
    std::vector<Array> arrays(static_cast<size_t>(request.arrays));
    std::vector<Memory> blocks;
    for (Array &array : arrays) {
      receive(&array, sizeof array);
      const bool own = array.within < 0;
      blocks.push_back(own ? take(array.bytes) : Memory());
      if (array.sent) receive(blocks.back().get(), array.bytes);
      const void *const address =
          own ? blocks.back().get() : static_cast<unsigned char *>(blocks[array.within].get()) + array.offset;
      std::memcpy(static_cast<unsigned char *>(frame.get()) + array.place, &address, sizeof address);
    }
    const int64_t result = call(request.function, frame.get(), static_cast<int>(request.calls));
    send(&result, sizeof result);
    for (size_t k = 0; k < arrays.size(); ++k)
      if (arrays[k].returned) send(blocks[k].get(), arrays[k].bytes);
    if (std::fflush(stdout) != 0) return 1;
  }
  return 0;
}
