// The C functions: arguments are checked here, kernels chosen, memory found and tasks handed out.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "kernel.h"
#include "memory.h"
#include "parallel.h"
#include "plan.h"
#include "scanline.h"
#include "team.h"

namespace scanline {
namespace {

std::atomic<const Kernel *> chosen[2] = {{nullptr}, {nullptr}};

bool known(int precision) { return precision == SCANLINE_FLOAT32 || precision == SCANLINE_BFLOAT16; }

const Kernel *nth(int precision, int index) {
  for (const Kernel *const *k = kernels; *k; ++k)
    if ((*k)->precision == precision && (*k)->supported() && index-- == 0) return *k;
  return nullptr;
}

const Kernel *in_use(int precision) {
  const Kernel *kernel = chosen[precision];
  return kernel ? kernel : nth(precision, 0);
}

// Stands at the start of a reserve, which it takes 64 bytes of.
struct Header {
  char kernel[24];
  int64_t sequences, steps, units, groups;
};
constexpr size_t header_bytes = 64;
// Weights from which on a second thread saves more than waiting for it costs.
constexpr size_t worth_sharing = 100 * 1024;
static_assert(sizeof(Header) <= header_bytes, "the header outgrew its place");

bool sound(const scanline_layer &l) {
  constexpr int64_t most = int64_t{1} << 31;
  if (!known(l.precision) || l.threads < 1 || !l.x || !l.weight_ih || !l.weight_hh) return false;
  for (const int64_t size : {l.sequences, l.steps, l.features, l.units})
    if (size < 1 || size > most) return false;
  if (l.lengths)
    for (int64_t n = 0; n < l.sequences; ++n)
      if (l.lengths[n] < 0 || l.lengths[n] > l.steps) return false;
  return true;
}

template <class Body>
int guarded(const Body &body) {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return SCANLINE_NO_MEMORY;
  } catch (...) {
    return SCANLINE_BAD_ARGUMENT;
  }
}

// The most scratch that a lane's groups need.
template <class Bytes>
size_t most_for(const Plan &plan, const std::vector<int64_t> &lane, const Bytes &bytes) {
  size_t most = 0;
  for (const int64_t g : lane) most = std::max(most, bytes(plan.groups[g].count));
  return most;
}

int forward(const scanline_forward &call) {
  const scanline_layer &l = call.layer;
  if (!sound(l) || !call.hn || !call.cn) return SCANLINE_BAD_ARGUMENT;
  const Kernel *const kernel = in_use(l.precision);
  if (!kernel) return SCANLINE_NO_SUCH_KERNEL;
  const Plan plan(l, choose_groups(l));
  auto *reserve = static_cast<unsigned char *>(call.reserve);
  if (reserve) {
    Header header{};
    std::strncpy(header.kernel, kernel->name, sizeof header.kernel - 1);
    header.sequences = l.sequences, header.steps = l.steps, header.units = l.units;
    header.groups = static_cast<int64_t>(plan.groups.size());
    std::memcpy(reserve, &header, sizeof header);
  }
  const int64_t blocks = (l.units + kernel->width - 1) / kernel->width;
  const Block own(call.packed ? 0 : kernel->packed_bytes(l.features, l.units));
  const void *const packed = call.packed ? call.packed : own.get();
  const auto scratch = [&](int64_t count) { return kernel->forward_scratch_bytes(l.features, l.units, count); };
  const auto saved_of = [&](const Group &group) {
    return reserve ? reserve + header_bytes + group.saved * kernel->saved_bytes(l.units) : nullptr;
  };
  const int64_t members = std::min({int64_t{l.threads}, blocks, most_members});
  if (plan.groups.size() == 1 && members > 1 && kernel->packed_bytes(l.features, l.units) >= worth_sharing) {
    const Group &group = plan.groups[0];
    const Block memory(scratch(group.count));
    Meeting meeting(members);
    in_parallel(members, l.threads, [&](int64_t k) {
      const int64_t member = meeting.enter(k == 0);
      if (member < 0) return;
      const int64_t all = meeting.members();
      if (!call.packed) kernel->pack(l, own.get(), blocks * member / all, blocks * (member + 1) / all);
      kernel->forward(call, group, packed, saved_of(group), memory.get(),
                      {member, all, [](void *data, int64_t me) { static_cast<Meeting *>(data)->wait(me); }, &meeting});
    });
    return SCANLINE_OK;
  }
  if (!call.packed) kernel->pack(l, own.get(), 0, blocks);
  std::vector<size_t> starts(1, 0);
  for (const auto &lane : plan.lanes) starts.push_back(starts.back() + most_for(plan, lane, scratch));
  const Block memory(starts.back());
  in_parallel(static_cast<int64_t>(plan.lanes.size()), l.threads, [&](int64_t lane) {
    for (const int64_t g : plan.lanes[lane])
      kernel->forward(call, plan.groups[g], packed, saved_of(plan.groups[g]),
                      static_cast<unsigned char *>(memory.get()) + starts[lane],
                      {0, 1, [](void *, int64_t) {}, nullptr});
  });
  return SCANLINE_OK;
}

int backward(const scanline_backward &call) {
  const scanline_layer &l = call.layer;
  const bool wants_weights = call.dweight_ih != nullptr;
  if (!sound(l) || !call.y || !call.reserve || wants_weights != (call.dweight_hh != nullptr) ||
      wants_weights != (call.dbias != nullptr))
    return SCANLINE_BAD_ARGUMENT;
  Header header;
  std::memcpy(&header, call.reserve, sizeof header);
  const Kernel *const kernel = in_use(l.precision);
  if (!kernel) return SCANLINE_NO_SUCH_KERNEL;
  if (std::strncmp(header.kernel, kernel->name, sizeof header.kernel) != 0 || header.sequences != l.sequences ||
      header.steps != l.steps || header.units != l.units || header.groups < 1 || header.groups > l.sequences)
    return SCANLINE_BAD_RESERVE;
  const Plan plan(l, header.groups);
  const auto *saved = static_cast<const unsigned char *>(call.reserve) + header_bytes;
  const Block packed(kernel->packed_backward_bytes(l.features, l.units));
  kernel->pack_backward(l, call.dx != nullptr, packed.get());
  const auto scratch = [&](int64_t count) { return kernel->backward_scratch_bytes(l.features, l.units, count); };
  const size_t gradient = wants_weights ? (kernel->gradient_bytes(l.features, l.units) + 63) / 64 * 64 : 0;
  std::vector<size_t> starts(1, 0);
  for (const auto &lane : plan.lanes) starts.push_back(starts.back() + gradient + most_for(plan, lane, scratch));
  const Block memory(starts.back());
  std::vector<const float *> gradients;
  for (size_t lane = 0; lane < plan.lanes.size(); ++lane)
    gradients.push_back(reinterpret_cast<float *>(static_cast<unsigned char *>(memory.get()) + starts[lane]));
  in_parallel(static_cast<int64_t>(plan.lanes.size()), l.threads, [&](int64_t lane) {
    auto *own = static_cast<unsigned char *>(memory.get()) + starts[lane];
    std::memset(own, 0, gradient);
    for (const int64_t g : plan.lanes[lane]) {
      const Group &group = plan.groups[g];
      kernel->backward(call, group, packed.get(), saved + group.saved * kernel->saved_bytes(l.units), own + gradient,
                       wants_weights ? reinterpret_cast<float *>(own) : nullptr);
    }
  });
  if (wants_weights) {
    const int64_t gates = (l.units + kernel->width - 1) / kernel->width * 4;
    const int64_t parts = std::min<int64_t>(l.threads, gates);
    in_parallel(parts, l.threads, [&](int64_t part) {
      kernel->finish(call, gradients.data(), static_cast<int64_t>(gradients.size()), gates * part / parts,
                     gates * (part + 1) / parts);
    });
  }
  return SCANLINE_OK;
}

}  // namespace
}  // namespace scanline

using namespace scanline;

int scanline_abi() { return SCANLINE_ABI; }

const char *scanline_error(int code) {
  switch (code) {
    case SCANLINE_OK: return "no error";
    case SCANLINE_BAD_ARGUMENT: return "an argument is missing or out of its range";
    case SCANLINE_NO_MEMORY: return "there is not enough memory";
    case SCANLINE_NO_SUCH_KERNEL: return "this processor has no such kernel";
    case SCANLINE_BAD_RESERVE: return "the reserve is not of a forward pass of this shape with this kernel";
    default: return "an unknown error";
  }
}

const char *scanline_kernel(int precision, int index) {
  const Kernel *const kernel = known(precision) && index >= 0 ? nth(precision, index) : nullptr;
  return kernel ? kernel->name : nullptr;
}

int scanline_use_kernel(int precision, const char *name) {
  if (!known(precision)) return SCANLINE_BAD_ARGUMENT;
  if (!name) {
    chosen[precision] = nullptr;
    return SCANLINE_OK;
  }
  for (int k = 0; const Kernel *const kernel = nth(precision, k); ++k) {
    if (std::strcmp(kernel->name, name) == 0) {
      chosen[precision] = kernel;
      return SCANLINE_OK;
    }
  }
  return SCANLINE_NO_SUCH_KERNEL;
}

const char *scanline_kernel_in_use(int precision) {
  const Kernel *const kernel = known(precision) ? in_use(precision) : nullptr;
  return kernel ? kernel->name : nullptr;
}

void scanline_use_parallel(scanline_parallel parallel) { use_parallel(parallel); }

int scanline_reserve_form(int precision, int64_t form[3]) {
  if (!known(precision) || !form) return SCANLINE_BAD_ARGUMENT;
  const Kernel *const kernel = in_use(precision);
  if (!kernel) return SCANLINE_NO_SUCH_KERNEL;
  form[0] = header_bytes;
  form[1] = kernel->width;
  form[2] = static_cast<int64_t>(kernel->saved_bytes(1));
  return SCANLINE_OK;
}

size_t scanline_packed_bytes(int precision, int64_t features, int64_t units) {
  const Kernel *const kernel = known(precision) ? in_use(precision) : nullptr;
  return kernel && features >= 1 && units >= 1 ? kernel->packed_bytes(features, units) : 0;
}

int scanline_pack(const scanline_layer *layer, void *packed) {
  if (!layer || !packed || !known(layer->precision) || layer->features < 1 || layer->units < 1 ||
      !layer->weight_ih || !layer->weight_hh)
    return SCANLINE_BAD_ARGUMENT;
  const Kernel *const kernel = in_use(layer->precision);
  if (!kernel) return SCANLINE_NO_SUCH_KERNEL;
  kernel->pack(*layer, packed, 0, (layer->units + kernel->width - 1) / kernel->width);
  return SCANLINE_OK;
}

int scanline_lstm_forward(const scanline_forward *call) {
  return call ? guarded([&] { return forward(*call); }) : SCANLINE_BAD_ARGUMENT;
}

int scanline_lstm_backward(const scanline_backward *call) {
  return call ? guarded([&] { return backward(*call); }) : SCANLINE_BAD_ARGUMENT;
}

void *scanline_take(size_t bytes) {
  try {
    return take_block(bytes);
  } catch (...) {
    return nullptr;
  }
}

void scanline_give(void *block) { give_block(block); }

int scanline_activate(int tanh, const float *in, float *out, int64_t count) {
  if (!in || !out || count < 0) return SCANLINE_BAD_ARGUMENT;
  in_use(SCANLINE_FLOAT32)->activate(tanh, in, out, count);
  return SCANLINE_OK;
}
