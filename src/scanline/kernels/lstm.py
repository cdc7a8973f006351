"""`torch.ops.scanline.lstm`: one LSTM layer in one direction over whole sequences.

For torch it is an operator like any other: it has a schema, shapes without data (`torch.compile`,
`torch.export`), and a gradient. On float32 tensors the native library computes it; on float64 ones, and
where there is no library, the reference does, slowly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scanline.kernels import reference
from scanline.kernels.library import LARGE_BYTES, PRECISIONS, Backward, Forward, Layer, Library, load

_ops = torch.library.Library("scanline", "DEF")
_ops.define(
    "lstm(Tensor x, Tensor? h0, Tensor? c0, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, "
    "Tensor? bias_hh, Tensor? lengths, bool reverse, bool batch_first, str precision, bool keep)"
    " -> (Tensor y, Tensor hn, Tensor cn, Tensor reserve)"
)
_ops.define(
    "lstm_backward(Tensor? dy, Tensor? dhn, Tensor? dcn, Tensor x, Tensor? h0, Tensor? c0, Tensor weight_ih, "
    "Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? lengths, Tensor y, Tensor reserve, "
    "bool reverse, bool batch_first, str precision, bool wants_x, bool wants_states, bool wants_weights)"
    " -> (Tensor dx, Tensor dh0, Tensor dc0, Tensor dweight_ih, Tensor dweight_hh, Tensor dbias)"
)


def lstm(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    batch_first: bool = True,
    precision: str = "float32",
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (N, T, H) and the states h, c (N, H) after each sequence's last step.

    x: (N, T, F) float32 or float64 on the CPU, with any strides. h0, c0: (N, H), or None for zeros.
    weight_ih: (4H, F), weight_hh: (4H, H), biases: (4H,) or None, in torch's gate order i, f, g, o.
    lengths: (N,) int64, each in 0..T, or None: all are T. What stands past a length is never read; outputs
    there are 0, states stand still, and with `reverse` each sequence is read from its own last step.
    batch_first: False takes x and gives outputs as (T, N, ...).
    precision: "float32", or "bfloat16" for bfloat16 operands with float32 sums, states and outputs; where
    the processor has no such kernel, and on float64, it is computed more exactly.
    Raises RuntimeError for shapes that do not fit together, and where a second derivative is asked for.
    """
    tensors = (x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh)
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    options = (reverse, batch_first, precision)
    if _is_plain(tensors):
        if keep:
            return _Direct.apply(*tensors, lengths, *options)  # type: ignore[no-any-return, no-untyped-call]
        return _forward(*tensors, lengths, *options, False)[:3]
    y, hn, cn, _ = torch.ops.scanline.lstm.default(*tensors, lengths, *options, keep)
    return y, hn, cn


class _Call(NamedTuple):
    """The arguments that both passes share, in the order of the schemas."""

    x: Tensor
    h0: Tensor | None
    c0: Tensor | None
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    lengths: Tensor | None
    reverse: bool
    batch_first: bool
    precision: str

    def sizes(self) -> tuple[Any, Any, Any, Any]:
        """(N, T, F, H); numbers, or symbols where torch traces without data."""
        first, second, F = self.x.shape
        N, T = (first, second) if self.batch_first else (second, first)
        return N, T, F, self.weight_hh.shape[1]

    def strides(self, tensor: Tensor | None) -> tuple[int, int]:
        """(from sequence to sequence, from step to step) of a tensor laid out as x is."""
        if tensor is None:
            return 0, 0
        first, second, _ = tensor.stride()
        return (first, second) if self.batch_first else (second, first)

    def like_x(self, width: Any) -> tuple[Any, Any, Any]:
        """Shape of a tensor with `width` values at every step."""
        return (*self.x.shape[:2], width)

    def dense(self) -> _Call:
        """The same, as the library wants it: of x only the last axis, of the rest all is contiguous."""
        x, *others = self[:8]
        others = [None if t is None else t.contiguous() for t in others]
        return _Call(_rows(x), *others, *self[8:])  # type: ignore[arg-type, call-arg]

    def layer(self, precision: int) -> Layer:
        """For the library; valid as long as the tensors are."""
        x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, reverse, _, _ = self
        states = map(_pointer, (h0, c0, weight_ih, weight_hh, bias_ih, bias_hh))
        threads = torch.get_num_threads()
        return Layer(
            *self.sizes(), _pointer(lengths), reverse, precision, threads, 0,
            _pointer(x), *self.strides(x), *states,
        )  # fmt: skip

    def reference(self) -> tuple[Tensor, Tensor, Tensor]:
        """y, hn, cn in plain torch, y laid out as x is."""
        y, hn, cn = reference.lstm(self._turned(self.x), *self[1:9])
        return self._turned(y), hn, cn

    def reference_gradients(
        self, dy: Tensor | None, dhn: Tensor | None, dcn: Tensor | None, *wants: bool
    ) -> tuple[Tensor, ...]:
        """dx, dh0, dc0, dweight_ih, dweight_hh, dbias in plain torch; of no length where not wanted."""
        dy = None if dy is None else self._turned(dy)
        found = reference.lstm_backward(dy, dhn, dcn, self._turned(self.x), *self[1:9])
        found = (self._turned(found[0]).contiguous(), *found[1:])
        wanted = [want for want, count in zip(wants, (1, 2, 3), strict=True) for _ in range(count)]
        # A gradient that passed no step is the tensor that came in; an operator's results are its own.
        return tuple(g.clone() if want else g.new_empty(0) for g, want in zip(found, wanted, strict=True))

    def _turned(self, tensor: Tensor) -> Tensor:
        """Between the caller's layout and (N, T, ...)."""
        return tensor if self.batch_first else tensor.transpose(0, 1)


_TENSORS = _Call._fields[1:7]


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _rows(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def _check(call: _Call) -> None:
    """Raises RuntimeError naming every tensor that does not fit."""
    x = call.x
    if x.dim() != 3 or call.weight_ih.dim() != 2 or call.weight_hh.dim() != 2:
        raise RuntimeError(
            "scanline::lstm takes x (N, T, F), weight_ih (4H, F) and weight_hh (4H, H); got "
            f"{tuple(x.shape)}, {tuple(call.weight_ih.shape)} and {tuple(call.weight_hh.shape)}"
        )
    if call.precision not in PRECISIONS:
        raise RuntimeError(
            f"scanline::lstm: precision must be one of {', '.join(PRECISIONS)}, got {call.precision!r}"
        )
    N, _, F, H = call.sizes()
    shapes = ((N, H), (N, H), (4 * H, F), (4 * H, H), (4 * H,), (4 * H,))
    dtype, device = x.dtype, x.device
    faults = []
    for name, tensor, shape in zip(_TENSORS, call[1:7], shapes, strict=True):
        if not isinstance(tensor, Tensor):
            continue
        if tensor.shape != shape:
            faults.append(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
        if tensor.dtype != dtype or tensor.device != device:
            faults.append(
                f"{name} must be {dtype} on {device} as x is, got {tensor.dtype} on {tensor.device}"
            )
    lengths = call.lengths
    if lengths is not None and (
        lengths.shape != (N,) or lengths.dtype != torch.int64 or lengths.device != x.device
    ):
        faults.append(
            f"lengths must be int64 of shape {(N,)} on {x.device}, "
            f"got {lengths.dtype} of shape {tuple(lengths.shape)} on {lengths.device}"
        )
    if faults:
        raise RuntimeError("scanline::lstm: " + "; ".join(faults))


def _native(x: Tensor, precision: str) -> tuple[Library, int] | None:
    """The library and the precision that it will compute in; None where the reference computes."""
    library = load()
    if library is None or x.dtype != torch.float32 or 0 in x.shape:
        return None
    code = PRECISIONS[precision]
    return library, code if library.kernel(code) else PRECISIONS["float32"]


def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    call, keep = _Call(*arguments[:-1]), arguments[-1]
    _check(call)
    N, T, _, H = call.sizes()
    lengths = call.lengths
    if lengths is not None and N and (int(lengths.min()) < 0 or int(lengths.max()) > T):
        raise RuntimeError(
            f"scanline::lstm: lengths must be in 0..{T}, got {int(lengths.min())}..{int(lengths.max())}"
        )
    native = _native(call.x, call.precision)
    if native is None:
        y, hn, cn = call.reference()
        # A state that no step changed would be the caller's own tensor; an operator's results are its own.
        return y.contiguous(), hn.clone(), cn.clone(), call.x.new_empty(0, dtype=torch.uint8)
    library, precision = native
    call = call.dense()
    y = library.empty(*call.like_x(H))
    hn, cn = torch.empty(N, H), torch.empty(N, H)
    reserve = library.empty(library.reserve_bytes(precision, N, T, H) if keep else 0, dtype=torch.uint8)
    if keep and reserve.numel() < LARGE_BYTES:
        reserve.zero_()  # lengths leave some of it unused; what is small is the same at every call
    native_call = Forward(
        call.layer(precision), None, y.data_ptr(), *call.strides(y),
        hn.data_ptr(), cn.data_ptr(), reserve.data_ptr() if keep else None,
    )  # fmt: skip
    library.check(library.forward(ctypes.byref(native_call)))
    return y, hn, cn, reserve


def _forward_shapes(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    call, keep = _Call(*arguments[:-1]), arguments[-1]
    _check(call)
    N, T, _, H = call.sizes()
    native = _native(call.x, call.precision)
    length = native[0].reserve_bytes(native[1], N, T, H) if native is not None and keep else 0
    state = call.x.new_empty(N, H)
    reserve = call.x.new_empty(length, dtype=torch.uint8)
    return call.x.new_empty(call.like_x(H)), state, torch.empty_like(state), reserve


def _backward(
    dy: Tensor | None, dhn: Tensor | None, dcn: Tensor | None, *arguments: Any
) -> tuple[Tensor, ...]:
    inputs, (y, reserve), options, wants = arguments[:8], arguments[8:10], arguments[10:13], arguments[13:]
    call = _Call(*inputs, *options)
    native = _native(call.x, call.precision)
    if native is None:
        return call.reference_gradients(dy, dhn, dcn, *wants)
    library, precision = native
    call = call.dense()
    wants_x, wants_states, wants_weights = wants
    dx, dh0, dc0, dweight_ih, dweight_hh, dbias = _gradient_tensors(call, wants, library.empty)
    dy = None if dy is None else _rows(dy)
    dhn, dcn = (None if d is None else d.contiguous() for d in (dhn, dcn))
    native_call = Backward(
        call.layer(precision),
        y.data_ptr(), *call.strides(y), reserve.data_ptr(),
        _pointer(dy), *call.strides(dy), _pointer(dhn), _pointer(dcn),
        *((dx.data_ptr(), *call.strides(dx)) if wants_x else (None, 0, 0)),
        *((dh0.data_ptr(), dc0.data_ptr()) if wants_states else (None, None)),
        *((dweight_ih.data_ptr(), dweight_hh.data_ptr(), dbias.data_ptr()) if wants_weights else (None,) * 3),
    )  # fmt: skip
    library.check(library.backward(ctypes.byref(native_call)))
    return dx, dh0, dc0, dweight_ih, dweight_hh, dbias


def _gradient_tensors(
    call: _Call, wants: tuple[bool, bool, bool], empty: Callable[..., Tensor]
) -> tuple[Tensor, ...]:
    """Room for dx, dh0, dc0, dweight_ih, dweight_hh, dbias; of no length where it is not wanted."""
    wants_x, wants_states, wants_weights = wants
    N, _, F, H = call.sizes()
    state = (N, H) if wants_states else (0,)
    shapes = (call.like_x(F) if wants_x else (0,), state, state) + (
        ((4 * H, F), (4 * H, H), (4 * H,)) if wants_weights else ((0,), (0,), (0,))
    )
    return tuple(empty(*shape) for shape in shapes)


def _backward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    call = _Call(*arguments[3:11], *arguments[13:16])
    return _gradient_tensors(call, arguments[16:], lambda *shape: call.x.new_empty(shape))


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    y, _, _, reserve = output
    ctx.save_for_backward(*inputs[:8], y, reserve)
    ctx.options = inputs[8:11]
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: Any, dy: Tensor | None, dhn: Tensor | None, dcn: Tensor | None, _: None = None
) -> tuple[Tensor | None, ...]:
    return _gradients(ctx, dy, dhn, dcn, torch.ops.scanline.lstm_backward.default)


def _gradients(
    ctx: Any,
    dy: Tensor | None,
    dhn: Tensor | None,
    dcn: Tensor | None,
    run: Callable[..., tuple[Tensor, ...]],
) -> tuple[Tensor | None, ...]:
    """By every argument of the operator, None for those that are no tensors or not wanted."""
    wants = ctx.needs_input_grad
    wants_x, wants_states, wants_weights = wants[0], wants[1] or wants[2], any(wants[3:7])
    dx, dh0, dc0, dweight_ih, dweight_hh, dbias = run(
        dy, dhn, dcn, *ctx.saved_tensors, *ctx.options, wants_x, wants_states, wants_weights
    )
    # Both biases have the same gradient, and each a tensor of its own.
    gradients = (
        dx,
        dh0,
        dc0,
        dweight_ih,
        dweight_hh,
        dbias,
        dbias.clone() if wants[5] and wants[6] else dbias,
    )
    return tuple(g if w else None for g, w in zip(gradients, wants, strict=False)) + (None,) * 5


class _Direct(torch.autograd.Function):
    """The operator without the dispatcher, whose Python side takes 0.1 ms a training step."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        output = _forward(*inputs, True)
        _keep_for_backward(ctx, inputs, output)
        return output[:3]

    @staticmethod
    def backward(
        ctx: Any, dy: Tensor | None, dhn: Tensor | None, dcn: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the gradient's own gradient may be asked for: the operator refuses it
            return _differentiate(ctx, dy, dhn, dcn)[:-1]
        return _gradients(ctx, dy, dhn, dcn, _backward)[:-1]


def _is_plain(tensors: Sequence[Tensor | None]) -> bool:
    """Whether nothing but the computation is asked of these tensors: no tracing, no mode, no subclass."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and all(tensor is None or type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)
        and all(tensor is None or tensor.device.type == "cpu" for tensor in tensors)
    )


def _refuse(ctx: Any, *gradients: Tensor | None) -> None:
    raise RuntimeError(
        "scanline::lstm has no second derivative; for one, use torch.nn.LSTM, "
        "or scanline.nn.LSTM with backend='torch'"
    )


for _key in ("CPU", "CUDA"):
    _ops.impl("lstm", _forward, _key)
    _ops.impl("lstm_backward", _backward, _key)
torch.library.register_fake("scanline::lstm", _forward_shapes, lib=_ops)
torch.library.register_fake("scanline::lstm_backward", _backward_shapes, lib=_ops)
torch.library.register_autograd("scanline::lstm", _differentiate, setup_context=_keep_for_backward, lib=_ops)
torch.library.register_autograd("scanline::lstm_backward", _refuse, lib=_ops)
