/* Scanline's native library: LSTM layers over whole sequences, forward and backward.
 *
 * Plain C over pointers and strides. It knows neither Python nor torch, allocates what it needs for the
 * length of a call, throws nothing, and answers with a code whose text `scanline_error` gives.
 *
 * Words. N sequences, T steps, F features a step, H units. Gates stand in torch's order i, f, g, o
 * (input, forget, candidate, output), so weight_ih is (4H, F) and weight_hh (4H, H), row-major:
 *     i = sigmoid(W_i [x, h] + b_i)   f = sigmoid(W_f [x, h] + b_f)
 *     g = tanh(W_g [x, h] + b_g)      o = sigmoid(W_o [x, h] + b_o)
 *     c' = f c + i g                  h' = o tanh(c')
 * (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.)
 *
 * All strides count elements, not bytes. The last axis of every tensor is contiguous.
 */
#ifndef SCANLINE_H
#define SCANLINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SCANLINE_API __declspec(dllexport)
#else
#define SCANLINE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a structure or the meaning of an argument changes. */
#define SCANLINE_ABI 1

enum scanline_code {
  SCANLINE_OK = 0,
  SCANLINE_BAD_ARGUMENT = 1,
  SCANLINE_NO_MEMORY = 2,
  SCANLINE_NO_SUCH_KERNEL = 3,
  SCANLINE_BAD_RESERVE = 4
};

enum scanline_precision {
  SCANLINE_FLOAT32 = 0,
  /* bfloat16 operands of every product; sums, states, gates and outputs stay in float32. */
  SCANLINE_BFLOAT16 = 1
};

/* What is the same in both directions of a pass. */
typedef struct scanline_layer {
  int64_t sequences, steps, features, units; /* N, T, F, H */
  const int64_t *lengths;                    /* (N,), each in 0..T; NULL: all are T */
  int32_t reverse;                           /* 1: read each sequence from its own last step to its first */
  int32_t precision;                         /* enum scanline_precision */
  int32_t threads;                           /* at most so many at once, >= 1 */
  int32_t unused;
  const float *x; /* (N, T, F); past a sequence's end never read */
  int64_t x_sequence, x_step;
  const float *h0, *c0; /* (N, H) contiguous, or NULL: zeros */
  const float *weight_ih, *weight_hh;
  const float *bias_ih, *bias_hh; /* (4H,), or NULL: none */
} scanline_layer;

typedef struct scanline_forward {
  scanline_layer layer;
  const void *packed; /* from scanline_pack for these weights, or NULL: pack them for this call */
  float *y;           /* (N, T, H), 0 past a sequence's end; NULL: not wanted */
  int64_t y_sequence, y_step;
  float *hn, *cn; /* (N, H) contiguous: the states after each sequence's last step */
  void *reserve;  /* what backward needs, scanline_reserve_bytes long; NULL in inference */
} scanline_forward;

typedef struct scanline_backward {
  scanline_layer layer;
  const float *y; /* the forward pass's outputs */
  int64_t y_sequence, y_step;
  const void *reserve; /* as forward left it; it is only read */
  const float *dy;     /* (N, T, H), or NULL: zeros; past a sequence's end never read */
  int64_t dy_sequence, dy_step;
  const float *dhn, *dcn; /* (N, H) contiguous, or NULL: zeros */
  float *dx;              /* (N, T, F), 0 past a sequence's end; NULL: not wanted */
  int64_t dx_sequence, dx_step;
  float *dh0, *dc0;                /* (N, H) contiguous, or NULL: not wanted */
  float *dweight_ih, *dweight_hh;  /* as the weights; both or neither NULL: not wanted */
  float *dbias;                    /* (4H,), of either bias; NULL with the weights' */
} scanline_backward;

SCANLINE_API int scanline_abi(void);
/* The text of a code, in English, without a full stop; never NULL. */
SCANLINE_API const char *scanline_error(int code);

/* The kernels compiled in and allowed by this processor, best first, for a precision; NULL past the last.
 * Names: "avx512-bf16", "avx512", "avx2", "neon", "portable". */
SCANLINE_API const char *scanline_kernel(int precision, int index);
/* Use the named kernel for a precision from now on; NULL: the best. Not while another thread computes. */
SCANLINE_API int scanline_use_kernel(int precision, const char *name);
/* The name of the kernel in use, or NULL where the processor has none for this precision. */
SCANLINE_API const char *scanline_kernel_in_use(int precision);

/* Let `parallel` run work instead of this library's own threads. It has the shape of GOMP_parallel and
 * calls `work(data)` on up to `threads` threads, this one among them, and returns when all are done.
 * A program that computes with OpenMP hands over its own, so that two pools do not fight for the cores.
 * NULL: own threads. */
typedef void (*scanline_parallel)(void (*work)(void *), void *data, unsigned threads, unsigned flags);
SCANLINE_API void scanline_use_parallel(scanline_parallel parallel);

/* form = {header, width, bytes}: with the kernel in use, forward's reserve takes at most
 *     header + N T ceil(H / width) bytes
 * bytes, of which only those of real steps are touched. */
SCANLINE_API int scanline_reserve_form(int precision, int64_t form[3]);
/* Bytes that packed weights take; 0: bad argument. */
SCANLINE_API size_t scanline_packed_bytes(int precision, int64_t features, int64_t units);

/* Weights and biases of `layer` in the order in which the kernel in use reads them. 64-byte aligned. */
SCANLINE_API int scanline_pack(const scanline_layer *layer, void *packed);
SCANLINE_API int scanline_lstm_forward(const scanline_forward *call);
SCANLINE_API int scanline_lstm_backward(const scanline_backward *call);

/* Memory, 64-byte aligned and of undefined content. Large blocks are kept for the next who asks, which saves the
 * system's fresh pages. NULL: there is none. Giving NULL does nothing. */
SCANLINE_API void *scanline_take(size_t bytes);
SCANLINE_API void scanline_give(void *block);

/* out[k] = sigmoid(in[k]) or, with tanh = 1, tanh(in[k]), as the kernel in use for float32 computes it. */
SCANLINE_API int scanline_activate(int tanh, const float *in, float *out, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
