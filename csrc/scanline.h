/* The C interface of Scanline's native library: recurrent layers over whole sequences, forward and backward.
 *
 * The interface uses plain C types, pointers and strides; it needs neither Python nor torch. A call allocates what
 * it needs and frees it before it returns. Functions never throw; they return an enum scanline_code, which
 * `scanline_error` describes.
 *
 * Sizes: N sequences, T steps, F features a step, H units, G gates, and P, the width of the outputs and of h: H, except
 * in a layer with a projection. Row-major weight_ih is (G H, F) and weight_hh (G H, P), with the gates in torch's order. With P = W_ih x + b_ih and Q = W_hh h + b_hh of each gate:
 *
 *     LSTM (G = 4)  i = sigmoid(P_i + Q_i)   f = sigmoid(P_f + Q_f)   g = tanh(P_g + Q_g)   o = sigmoid(P_o + Q_o)
 *                   c' = f c + i g           h' = o tanh(c'), with a projection h' = W_hr (o tanh(c'))
 *     GRU (G = 3)   r = sigmoid(P_r + Q_r)   z = sigmoid(P_z + Q_z)   n = tanh(P_n + r Q_n)
 *                   h' = (1 - z) n + z h
 *     RNN (G = 1)   h' = tanh(P + Q), or max(0, P + Q)
 *
 * Sources: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000 and the projection, (P, H), of Sak et
 * al. 2014; Cho et al. 2014, with the reset gate after the product as in torch; Elman 1990.
 *
 * Strides count elements, not bytes. The last axis of every tensor is contiguous. "or NULL: ..." says what a NULL
 * pointer means; all other pointers are required.
 *
 * Thread safety: any function may be called from several threads at once, except scanline_use_kernel and
 * scanline_use_parallel, which must not run while another call does.
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

/* The version of this interface. It changes whenever a structure or the meaning of an argument does. */
#define SCANLINE_ABI 6

enum scanline_code {
  SCANLINE_OK = 0,
  SCANLINE_BAD_ARGUMENT = 1,
  SCANLINE_NO_MEMORY = 2,
  SCANLINE_NO_SUCH_KERNEL = 3,
  SCANLINE_BAD_RESERVE = 4
};

enum scanline_precision {
  SCANLINE_FLOAT32 = 0,
  /* The operands of all products are rounded to bfloat16; sums, states, gates and outputs are float32. */
  SCANLINE_BFLOAT16 = 1
};

enum scanline_cell {
  SCANLINE_LSTM = 0,
  SCANLINE_GRU = 1,
  SCANLINE_RNN_TANH = 2,
  SCANLINE_RNN_RELU = 3,
  SCANLINE_LSTM_PROJECTED = 4 /* with a projection; not for predictors */
};

/* Arguments that a forward pass and its backward pass share. */
typedef struct scanline_layer {
  int64_t sequences, steps, features, units; /* N, T, F, H; each >= 1 */
  int64_t projection;                        /* P >= 1 of a cell with a projection, otherwise 0 */
  const int64_t *lengths;                    /* (N,), each in 0..T, or NULL: all T */
  int32_t reverse;                           /* 1: read each sequence from its own last step to its first */
  int32_t precision;                         /* enum scanline_precision */
  int32_t threads;                           /* the most threads to use, >= 1 */
  int32_t cell;                              /* enum scanline_cell */
  const float *x; /* (N, T, F); steps at or past a sequence's length are not read */
  int64_t x_sequence, x_step;
  const float *h0, *c0; /* (N, P) and (N, H) contiguous, or NULL: zeros. c0 and its like below: of the LSTM only */
  const float *weight_ih, *weight_hh;
  const float *bias_ih, *bias_hh; /* (G H,), or NULL: zeros */
  const float *weight_hr;         /* of a cell with a projection, otherwise NULL */
} scanline_layer;

typedef struct scanline_forward {
  scanline_layer layer;
  const void *packed; /* from scanline_pack with these weights, or NULL: pack them for this call */
  float *y;           /* (N, T, P), filled with 0 past a sequence's length, or NULL: not wanted */
  int64_t y_sequence, y_step;
  float *hn, *cn; /* contiguous: the states after each sequence's last step; cn may be NULL but for the LSTM */
  void *reserve;  /* values for the backward pass (scanline_reserve_form), or NULL: inference */
} scanline_forward;

typedef struct scanline_backward {
  scanline_layer layer;
  const float *y; /* the forward pass's outputs */
  int64_t y_sequence, y_step;
  const void *reserve; /* as written by the forward pass; not modified */
  const float *dy;     /* (N, T, P), not read past a sequence's length, or NULL: zeros */
  int64_t dy_sequence, dy_step;
  const float *dhn, *dcn; /* contiguous, or NULL: zeros */
  float *dx;              /* (N, T, F), filled with 0 past a sequence's length, or NULL: not wanted */
  int64_t dx_sequence, dx_step;
  float *dh0, *dc0;               /* contiguous, or NULL: not wanted */
  float *dweight_ih, *dweight_hh; /* shaped as the weights, or both NULL: not wanted */
  float *dbias_ih, *dbias_hh;     /* (G H,), or NULL: not wanted; NULL if the dweights are */
  float *dweight_hr;              /* of a cell with a projection, NULL if the other dweights are; otherwise NULL */
} scanline_backward;

/* SCANLINE_ABI of the library. */
SCANLINE_API int scanline_abi(void);
/* The description of a code, in English, without a full stop; never NULL. */
SCANLINE_API const char *scanline_error(int code);

/* The name of the index-th kernel that this processor supports for a precision, best first; NULL past the last.
 * Names: "avx512-bf16", "avx512", "avx2", "neon", "portable". */
SCANLINE_API const char *scanline_kernel(int precision, int index);
/* Use the named kernel for a precision from now on; NULL: the best. */
SCANLINE_API int scanline_use_kernel(int precision, const char *name);
/* The name of the kernel in use, or NULL if the processor supports none for this precision. */
SCANLINE_API const char *scanline_kernel_in_use(int precision);

/* Run work with `parallel` instead of the library's own threads; NULL: own threads. `parallel` has the signature of
 * GOMP_parallel: it calls `work(data)` on up to `threads` threads, including the caller's, and returns when all calls
 * have returned. A program that computes with OpenMP passes its own, so that two thread pools do not compete for the
 * cores. */
typedef void (*scanline_parallel)(void (*work)(void *), void *data, unsigned threads, unsigned flags);
SCANLINE_API void scanline_use_parallel(scanline_parallel parallel);

/* Sets form = {header, width, bytes}: with the kernel in use, a cell's reserve takes at most
 *     header + N T ceil(H / width) bytes
 * bytes. Only the part for steps within the sequences' lengths is written. */
SCANLINE_API int scanline_reserve_form(int cell, int precision, int64_t form[3]);
/* Bytes of packed weights, or 0 for invalid arguments. */
SCANLINE_API size_t scanline_packed_bytes(int cell, int precision, int64_t features, int64_t units, int64_t projection);

/* Copy the weights and biases of `layer` into `packed`, in the order in which the kernel in use reads them. `packed`
 * is scanline_packed_bytes long and 64-byte aligned. */
SCANLINE_API int scanline_pack(const scanline_layer *layer, void *packed);

/* Compute `count` calls: 1, or 2 for both directions of a layer, which the threads then share out. Two calls must have
 * the same sizes, lengths, cell, precision and threads; they may write to parts of one y. The backward calls may have
 * the same dx, which then gets the sum of both gradients. */
SCANLINE_API int scanline_run_forward(const scanline_forward *calls, int count);
SCANLINE_API int scanline_run_backward(const scanline_backward *calls, int count);

/* Uninitialised memory, 64-byte aligned, or NULL if there is none. Large blocks are kept after scanline_give and
 * reused, which avoids the cost of fresh pages. scanline_give(NULL) does nothing. */
SCANLINE_API void *scanline_take(size_t bytes);
SCANLINE_API void scanline_give(void *block);

/* out[k] = tanh(in[k]) if tanh is 1, otherwise sigmoid(in[k]), as the float32 kernel in use computes it. */
SCANLINE_API int scanline_activate(int tanh, const float *in, float *out, int64_t count);

/* Measure a limit of the processor on `threads` threads at once, for about `seconds`, 0 < seconds <= 60.
 * bytes = 0: *rate is the floating-point operations a second of independent multiply-adds in registers, as the kernel in
 * use does them. bytes > 0: the bytes a second that all threads load, each from its own block of `bytes`. Of every
 * thread the fastest 0.2 ms count, so that other processes hardly change the rate. */
SCANLINE_API int scanline_peak(int precision, int threads, int64_t bytes, double seconds, double *rate);

/* --- predictors: whole networks that own their weights
 *
 * A network reads inputs (x - shift) / scale with stacked layers in D = 1 or 2 directions, pools the outputs of the last
 * layer over the steps, and multiplies by the weights of a linear head, in float64. Layers compute what
 * scanline_run_forward computes, to the same bits. */
enum scanline_pooling {
  SCANLINE_LAST = 0,      /* each direction's state after the whole sequence */
  SCANLINE_LAST_STEP = 1, /* the outputs at the last step */
  SCANLINE_MEAN = 2,      /* the mean over the steps, summed in float64 */
  SCANLINE_MAX = 3
};

typedef struct scanline_network {
  int32_t cell;      /* enum scanline_cell */
  int32_t precision; /* enum scanline_precision */
  int32_t layers, directions;
  int32_t pooling; /* enum scanline_pooling */
  int32_t unused;
  int64_t features, units, outputs; /* F, H, M */
  const float *shift, *scale;       /* (F,) */
  /* weight_ih, weight_hh, bias_ih and bias_hh of the first layer, forward, then backward, then of the next layer; the
   * biases may be NULL: zeros */
  const float *const *weights;
  /* (M, D H) and (M,); both NULL: no head, the outputs are the pooled vectors and M is D H */
  const float *head_weight, *head_bias;
} scanline_network;

typedef struct scanline_prediction {
  int64_t sequences;      /* N, >= 1 */
  const int64_t *lengths; /* (N,), each >= 1 */
  const void *values;     /* the steps of all sequences one after another, (sum of lengths, F) */
  int32_t bytes;          /* 1: values are uint8; 0: float32 */
  int32_t threads;        /* the most threads to use, >= 1 */
  float *outputs;         /* (N, M) */
} scanline_prediction;

/* The next steps of sequences that arrive step by step. The arrays of states are updated; before the first step they
 * hold zeros, the maxima -infinity. */
typedef struct scanline_stream {
  int64_t sequences, steps; /* N and t, >= 1 */
  const int64_t *lengths;   /* (N,), each in 0..t, or NULL: all t */
  const float *values;      /* (N, t, F) */
  int32_t threads;          /* the most threads to use, >= 1 */
  int32_t unused;
  float *h, *c;    /* (layers, N, H); c may be NULL if the cell has no such state */
  void *pooled;    /* (N, H): of the mean float64 sums, of the maximum float32; otherwise NULL */
  int64_t *counts; /* (N,): number of steps read */
  float *outputs;  /* (N, t, M) for the sequences up to each step; not written past a sequence's length */
} scanline_stream;

typedef struct scanline_predictor scanline_predictor;

/* Make a predictor from copies of the weights. It computes with the kernel that is in use now. Any number of threads
 * may use it at once. */
SCANLINE_API int scanline_predictor_new(const scanline_network *network, scanline_predictor **predictor);
/* 1 if a network of the same shape has the weights from which the predictor was made, 0 if any bit of them changed. */
SCANLINE_API int scanline_predictor_holds(const scanline_predictor *predictor, const scanline_network *network);
/* Free a predictor that no other thread uses; NULL does nothing. */
SCANLINE_API void scanline_predictor_free(scanline_predictor *predictor);
SCANLINE_API int scanline_predict(const scanline_predictor *predictor, const scanline_prediction *call);
/* For a network of one direction. */
SCANLINE_API int scanline_predict_stream(const scanline_predictor *predictor, const scanline_stream *call);

/* One array of trained weights, each pointer to `count` values. */
typedef struct scanline_adam_weights {
  float *weight;   /* updated */
  float *gradient; /* multiplied by gradient_scale */
  float *mean, *square; /* Adam's running means of the gradient and of its square; updated */
  int64_t count;        /* >= 0 */
} scanline_adam_weights;

/* The numbers of one step of Adam. With g = gradient, after it was scaled:
 *
 *     mean += mean_rate (g - mean)          square = square_decay square + square_rate g g
 *     weight += step_size mean / (sqrt(square) / root_correction + epsilon)
 *
 * Source: Kingma & Ba 2015. */
typedef struct scanline_adam {
  float gradient_scale; /* of clipping, or 1 */
  float mean_rate, square_decay, square_rate, root_correction, epsilon, step_size;
  int32_t threads; /* the most threads to use, >= 1 */
  /* Computes the square roots of `count` values, with the signature of MKL's vmsSqrt, or NULL: correctly rounded
   * roots. MKL's differ in the last bit; a program that has torch passes its own, to get torch's bits. */
  void (*roots)(int64_t count, const float *values, float *roots, int64_t mode);
  int64_t roots_mode;
} scanline_adam;

/* Update `arrays` arrays of weights, which do not overlap. */
SCANLINE_API int scanline_adam_update(const scanline_adam *step, const scanline_adam_weights *weights,
                                      int64_t arrays);

#ifdef __cplusplus
}
#endif
#endif
