// The C functions of scanline.h: check arguments, turn exceptions into codes, and call the passes.
#include <cstring>
#include <new>

#include "kernels/registry.h"
#include "optimizer/adam.h"
#include "runtime/memory.h"
#include "runtime/pass.h"
#include "runtime/peak.h"
#include "runtime/predictor.h"
#include "runtime/threads.h"
#include "scanline.h"

using namespace scanline;

namespace {

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

bool known_cell(int cell) { return cell >= 0 && cell < cell_count; }

// Null for an unknown cell or precision, or if the processor supports no kernel.
const Kernel *kernel_of(int cell, int precision) {
  const KernelSet *const set = known_cell(cell) && known_precision(precision) ? set_in_use(precision) : nullptr;
  return set ? &set->cells[cell] : nullptr;
}

bool valid_call(const scanline_forward &call) {
  return call.hn && (call.cn || (call.layer.cell != SCANLINE_LSTM && call.layer.cell != SCANLINE_LSTM_PROJECTED));
}

bool valid_call(const scanline_backward &call) {
  if (!call.y || !call.reserve || (call.dweight_ih == nullptr) != (call.dweight_hh == nullptr)) return false;
  if ((call.dweight_hr != nullptr) != (call.dweight_ih && call.layer.projection)) return false;
  return call.dweight_ih || (!call.dbias_ih && !call.dbias_hh);
}

template <class Call>
bool valid(const Call *calls, int64_t count) {
  if (!calls || count < 1 || count > max_directions) return false;
  for (int64_t k = 0; k < count; ++k)
    if (!known_cell(calls[k].layer.cell) || !valid_layer(calls[k].layer) || !valid_call(calls[k]) ||
        !same_batch(calls[0].layer, calls[k].layer))
      return false;
  return true;
}

}  // namespace

int scanline_abi() { return SCANLINE_ABI; }

const char *scanline_error(int code) {
  switch (code) {
    case SCANLINE_OK: return "no error";
    case SCANLINE_BAD_ARGUMENT: return "an argument is missing or out of range";
    case SCANLINE_NO_MEMORY: return "not enough memory";
    case SCANLINE_NO_SUCH_KERNEL: return "this processor does not support the kernel";
    case SCANLINE_BAD_RESERVE: return "the reserve was not written by a forward pass of this shape and kernel";
    default: return "unknown error code";
  }
}

const char *scanline_kernel(int precision, int index) {
  const KernelSet *const set = known_precision(precision) && index >= 0 ? nth_set(precision, index) : nullptr;
  return set ? set->name : nullptr;
}

int scanline_use_kernel(int precision, const char *name) { return choose_set(precision, name); }

const char *scanline_kernel_in_use(int precision) {
  const KernelSet *const set = known_precision(precision) ? set_in_use(precision) : nullptr;
  return set ? set->name : nullptr;
}

void scanline_use_parallel(scanline_parallel parallel) { use_parallel(parallel); }

int scanline_reserve_form(int cell, int precision, int64_t form[3]) {
  if (!known_cell(cell) || !known_precision(precision) || !form) return SCANLINE_BAD_ARGUMENT;
  const Kernel *const kernel = kernel_of(cell, precision);
  if (!kernel) return SCANLINE_NO_SUCH_KERNEL;
  form[0] = reserve_header_bytes;
  form[1] = kernel->block_units;
  form[2] = static_cast<int64_t>(kernel->saved_bytes(1));
  return SCANLINE_OK;
}

size_t scanline_packed_bytes(int cell, int precision, int64_t features, int64_t units, int64_t projection) {
  const Kernel *const kernel = kernel_of(cell, precision);
  if (!kernel || features < 1 || units < 1 || !valid_projection(cell, projection)) return 0;
  return kernel->packed_bytes({features, units, projection});
}

int scanline_pack(const scanline_layer *layer, void *packed) {
  if (!layer || !packed || !known_cell(layer->cell) || !known_precision(layer->precision) || layer->features < 1 ||
      layer->units < 1 || !layer->weight_ih || !layer->weight_hh ||
      !valid_projection(layer->cell, layer->projection) || (layer->projection && !layer->weight_hr))
    return SCANLINE_BAD_ARGUMENT;
  const Kernel *const kernel = kernel_of(layer->cell, layer->precision);
  if (!kernel) return SCANLINE_NO_SUCH_KERNEL;
  kernel->pack(*layer, packed, 0, (layer->units + kernel->block_units - 1) / kernel->block_units);
  return SCANLINE_OK;
}

int scanline_run_forward(const scanline_forward *calls, int count) {
  return valid(calls, count) ? guarded([&] { return forward_pass(calls, count); }) : SCANLINE_BAD_ARGUMENT;
}

int scanline_run_backward(const scanline_backward *calls, int count) {
  return valid(calls, count) ? guarded([&] { return backward_pass(calls, count); }) : SCANLINE_BAD_ARGUMENT;
}

int scanline_predictor_new(const scanline_network *network, scanline_predictor **predictor) {
  if (!network || !predictor || !valid_network(*network)) return SCANLINE_BAD_ARGUMENT;
  const KernelSet *const set = set_in_use(network->precision);
  if (!set) return SCANLINE_NO_SUCH_KERNEL;
  return guarded([&] {
    *predictor = reinterpret_cast<scanline_predictor *>(new Predictor(*network, *set));
    return SCANLINE_OK;
  });
}

void scanline_predictor_free(scanline_predictor *predictor) { delete reinterpret_cast<Predictor *>(predictor); }

int scanline_predictor_holds(const scanline_predictor *predictor, const scanline_network *network) {
  return predictor && network && reinterpret_cast<const Predictor *>(predictor)->holds(*network);
}

int scanline_predict(const scanline_predictor *predictor, const scanline_prediction *call) {
  if (!predictor || !call || !valid_prediction(*call)) return SCANLINE_BAD_ARGUMENT;
  return guarded([&] {
    reinterpret_cast<const Predictor *>(predictor)->predict(*call);
    return SCANLINE_OK;
  });
}

int scanline_predict_stream(const scanline_predictor *predictor, const scanline_stream *call) {
  const auto *const made = reinterpret_cast<const Predictor *>(predictor);
  if (!predictor || !call || !made->valid(*call)) return SCANLINE_BAD_ARGUMENT;
  return guarded([&] {
    made->stream(*call);
    return SCANLINE_OK;
  });
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
  set_in_use(SCANLINE_FLOAT32)->activate(tanh, in, out, count);
  return SCANLINE_OK;
}

int scanline_peak(int precision, int threads, int64_t bytes, double seconds, double *rate) {
  if (!known_precision(precision) || threads < 1 || bytes < 0 || !(seconds > 0 && seconds <= 60) || !rate)
    return SCANLINE_BAD_ARGUMENT;
  const KernelSet *const set = set_in_use(precision);
  if (!set) return SCANLINE_NO_SUCH_KERNEL;
  return guarded([&] {
    *rate = bytes ? load_rate(*set, threads, bytes, seconds) : multiply_add_rate(*set, threads, seconds);
    return SCANLINE_OK;
  });
}

int scanline_adam_update(const scanline_adam *step, const scanline_adam_weights *weights, int64_t arrays) {
  if (!step || !weights || arrays < 0 || step->threads < 1) return SCANLINE_BAD_ARGUMENT;
  for (int64_t k = 0; k < arrays; ++k) {
    const scanline_adam_weights &w = weights[k];
    if (w.count < 0 || !w.weight || !w.gradient || !w.mean || !w.square) return SCANLINE_BAD_ARGUMENT;
  }
  return guarded([&] {
    update_weights(*step, weights, arrays);
    return SCANLINE_OK;
  });
}
