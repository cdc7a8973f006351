"""A cell of the native library as a torch operator, `torch.ops.scanline.<name>`.

For torch it is an operator like any other: it has a schema, shapes without data (`torch.compile`,
`torch.export`) and a gradient. On float32 tensors the native library computes it; on float64 ones, and
without the library, the reference does, slowly.

The reference computes second derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scanline.cells import Cell
from scanline.kernels import reference_call
from scanline.kernels.abi import BACKWARD, CELLS, FORWARD, PRECISIONS
from scanline.kernels.layer_call import (
    BOTH_DIRECTIONS,
    FLOAT_BYTES,
    ONE_DIRECTION,
    LayerCall,
    address,
    argument_names,
    contiguous_steps,
    pair,
    plain,
)
from scanline.kernels.library import LARGE_BYTES, Library, load

_ops = torch.library.Library("scanline", "DEF")


class LayerOperator:
    """A native operator: one layer of a cell over whole sequences.

    Args:
        cell: A cell with a `native_operator`, one of the C interface's CELLS.
        directions: 1, or 2 for a layer that reads each sequence from its first step and from its last one:
            its states are then (2, N, H), and its outputs the halves of (N, T, 2H).

    Attributes:
        cell: As given.
        directions: As given.
        name: Name of the operator, `torch.ops.scanline.<name>`.
    """

    def __init__(self, cell: Cell, directions: int = 1) -> None:
        if cell.native_operator is None:
            raise ValueError(f"{cell.title}: expected a native operator")
        self.cell, self.directions = cell, directions
        self.name = cell.native_operator + ("" if directions == 1 else "_bidirectional")
        self._code = CELLS[cell.native_operator]
        self._weights = len(cell.weights) * directions
        self._inputs = 2 + len(cell.states) + self._weights  # tensors: x, the states, the weights, lengths
        self._option_names = ONE_DIRECTION if directions == 1 else BOTH_DIRECTIONS
        self._options = len(self._option_names)
        self._define()

    def _define(self) -> None:
        """Define the operator and its gradient for torch."""
        name, states = self.name, self.cell.states
        names = argument_names(self.cell, self.directions)
        inputs = "".join(
            f"Tensor{'' if name == 'x' or name.startswith('weight') else '?'} {name}, " for name in names
        )
        options = "".join(f"{option}, " for option in self._option_names)
        last = "".join(f"Tensor {state}n, " for state in states)
        _ops.define(f"{name}({inputs}{options}bool keep) -> (Tensor y, {last}Tensor reserve)")
        gradients = "Tensor? dy, " + "".join(f"Tensor? d{state}n, " for state in states)
        results = ", ".join(f"Tensor d{name}" for name in names[:-1])
        _ops.define(
            f"{name}_backward({gradients}{inputs}Tensor y, Tensor reserve, {options}"
            "bool wants_x, bool wants_states, bool wants_weights)"
            f" -> ({results})"
        )
        # On CUDA the reference computes; registered, so that a model moved there does not fail.
        for key in ("CPU", "CUDA"):
            _ops.impl(name, self._dispatched, key)
            _ops.impl(f"{name}_backward", self.backward_pass, key)
        forward, backward = f"scanline::{name}", f"scanline::{name}_backward"
        torch.library.register_fake(forward, self._forward_shapes, lib=_ops)
        torch.library.register_fake(backward, self._backward_shapes, lib=_ops)
        torch.library.register_autograd(
            forward, self._differentiate, setup_context=self._save_for_backward, lib=_ops
        )
        torch.library.register_autograd(
            backward, self._differentiate_backward, setup_context=self._save_backward, lib=_ops
        )

    def __call__(
        self,
        x: Tensor,
        states: Sequence[Tensor | None],
        weights: Sequence[Tensor | None],
        lengths: Tensor | None = None,
        *,
        reverse: bool = False,
        batch_first: bool = True,
        precision: str = "float32",
    ) -> tuple[Tensor, ...]:
        """Return the outputs and the states after each sequence's last step.

        Args:
            x: Inputs, (N, T, F) float32 or float64 on the CPU, with any strides.
            states: Initial states in the cell's order, each (N, H), of both directions (2, N, H), or None
                for zeros.
            weights: [weight_ih (G*H, F), weight_hh (G*H, H), bias_ih, bias_hh], the biases (G*H,) or None,
                and weight_hr (P, H) of a cell with a projection, whose h has P values instead of H; then
                those of the other direction.
            lengths: (N,) int64, each in 0..T, or None if all are T. Values past a sequence's end are never
                read; outputs there are 0, and its states stay unchanged.
            reverse: Whether each sequence is read from its own last step to its first. One direction only.
            batch_first: False takes x and returns outputs as (T, N, ...).
            precision: "float32", or "bfloat16" for bfloat16 operands with float32 sums, states and outputs.
                A processor without a bfloat16 kernel computes float32; float64 tensors stay float64.

        Returns:
            Outputs (N, T, H) and the last states, each (N, H); of both directions (N, T, 2H) and (2, N, H).

        Raises:
            RuntimeError: If shapes do not fit together.
        """
        tensors = (x, *states, *weights)
        keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
        options = (reverse, batch_first, precision) if self.directions == 1 else (batch_first, precision)
        # Ordinary training and prediction skip torch's dispatcher; tracing and transforms need it.
        # Both paths call the same `forward_pass`, so their results have the same bits.
        if _is_plain(tensors):
            if keep:
                return _Direct.apply(*tensors, lengths, *options, self)  # type: ignore[no-any-return, no-untyped-call]
            return self.forward_pass(*tensors, lengths, *options, False)[:-1]
        operator = getattr(torch.ops.scanline, self.name).default
        return operator(*tensors, lengths, *options, keep)[:-1]  # type: ignore[no-any-return]

    def _native(self, x: Tensor, precision: str) -> tuple[Library, int] | None:
        """Return the library and the precision that it computes in; None if the reference computes."""
        library = load()
        if library is None or x.dtype != torch.float32 or not x.is_cpu or x.numel() == 0:
            return None
        code = PRECISIONS[precision]
        return library, code if library.computes(code) else PRECISIONS["float32"]

    # --- forward

    def _dispatched(self, *arguments: Any) -> tuple[Tensor, ...]:
        *results, reserve = self.forward_pass(*arguments)
        # The schema has a tensor, which takes 2 us: calls without torch's dispatcher do without.
        return (*results, arguments[0].new_empty(0, dtype=torch.uint8) if reserve is None else reserve)

    def forward_pass(self, *arguments: Any) -> tuple[Any, ...]:
        """Return y, the last states, and what the backward pass needs if `keep`, the last argument."""
        tensors, options, keep = arguments[: self._inputs], arguments[self._inputs : -1], arguments[-1]
        call = LayerCall.of(self.cell, tensors, options)
        call.check(self.cell)
        N, T, _, H, P = call.sizes()
        lengths = call.lengths
        if lengths is not None and N and (int(lengths.min()) < 0 or int(lengths.max()) > T):
            raise RuntimeError(
                f"scanline::{self.name}: lengths must be in 0..{T}, "
                f"got {int(lengths.min())}..{int(lengths.max())}"
            )
        native = self._native(call.x, call.precision)
        if native is None:
            return reference_call.forward(self.cell, call)
        library, precision = native
        # The structures below hold addresses, not references: `call` keeps contiguous copies alive.
        call, D = call.dense(), self.directions
        y = library.empty(call.x, *call.like_x(D * P))
        last = [library.empty(call.x, *shape) for shape in call.state_shapes(N, H, P)]
        reserve, kept = None, 0
        if keep:
            kept = library.reserve_bytes(self._code, precision, N, T, H)
            reserve = library.empty(call.x, D * kept, dtype=torch.uint8)
            if lengths is not None and D * kept < LARGE_BYTES:
                # Steps past a sequence's end leave parts of it unwritten: zeroed, equal calls give equal
                # bytes.
                reserve.zero_()
        # NULL (0) for packed weights: the library packs them itself, as they change at every training step.
        native_calls = b""
        for k in range(D):
            native_calls += FORWARD.pack(
                *call.layer(self._code, precision, k),
                0, y.data_ptr() + k * P * FLOAT_BYTES, *call.strides(y),
                *pair(last, k), 0 if reserve is None else reserve.data_ptr() + k * kept,
            )  # fmt: skip
        library.check(library.forward(native_calls, D))
        return (y, *last, reserve)

    def _forward_shapes(self, *arguments: Any) -> tuple[Tensor, ...]:
        tensors, options, keep = arguments[: self._inputs], arguments[self._inputs : -1], arguments[-1]
        call = LayerCall.of(self.cell, tensors, options)
        call.check(self.cell)
        N, T, _, H, P = call.sizes()
        native = self._native(call.x, call.precision)
        length = native[0].reserve_bytes(self._code, native[1], N, T, H) if native is not None and keep else 0
        states = [call.x.new_empty(shape) for shape in call.state_shapes(N, H, P)]
        reserve = call.x.new_empty(self.directions * length, dtype=torch.uint8)
        return (call.x.new_empty(call.like_x(self.directions * P)), *states, reserve)

    # --- backward

    def backward_pass(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Return dx and the gradients of the states and weights; empty where not wanted."""
        gradients, call, (y, reserve), wants = self._split(arguments)
        native = self._native(call.x, call.precision)
        if native is None:
            return reference_call.gradients(self.cell, call, gradients, wants)
        library, precision = native
        call = call.dense()
        wants_x, wants_states, wants_weights = wants
        # Gradients that are not wanted are NULL (0) for the library and empty tensors for torch, which
        # requires an operator to return all of its results.
        results = self._gradient_tensors(call, wants, lambda *shape: library.empty(call.x, *shape))
        dx, *dstates = results[: -self._weights]
        dweights = results[-self._weights :]
        dy, *dlast = gradients
        dy = None if dy is None else contiguous_steps(dy)
        dlast = [plain(d) for d in dlast]
        P = call.weights[0].weight_hh.shape[1]
        kept, count = reserve.numel() // self.directions, len(self.cell.weights)
        native_calls = []
        for k in range(self.directions):
            half = k * P * FLOAT_BYTES
            own = [*map(address, dweights[count * k : count * (k + 1)])] if wants_weights else []
            # Both directions have the same dx, in which the library adds up.
            native_calls.append(BACKWARD.pack(
                *call.layer(self._code, precision, k),
                y.data_ptr() + half, *call.strides(y), reserve.data_ptr() + k * kept,
                0 if dy is None else dy.data_ptr() + half, *call.strides(dy), *pair(dlast, k),
                *((dx.data_ptr(), *call.strides(dx)) if wants_x else (0, 0, 0)),
                *(pair(dstates, k) if wants_states else (0, 0)), *own, *(0,) * (5 - len(own)),
            ))  # fmt: skip
        library.check(library.backward(b"".join(native_calls), self.directions))
        return results

    def _batched_gradients(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Return what `backward_pass` does, computed by torch's operators, which `torch.vmap` knows."""
        gradients, call, _, wants = self._split(arguments)
        return reference_call.differentiate(self.cell, call, gradients, wants)

    def _split(
        self, arguments: tuple[Any, ...]
    ) -> tuple[Sequence[Any], LayerCall, Sequence[Any], tuple[bool, bool, bool]]:
        """Return (gradients of the results, call, (y, reserve), what is wanted) of the backward schema."""
        # Schema: dy and the states' gradients, the forward inputs, y and reserve, options, what is
        # wanted.
        first = 1 + len(self.cell.states)
        results = first + self._inputs
        options = results + 2
        tensors, chosen = arguments[first:results], arguments[options : options + self._options]
        call = LayerCall.of(self.cell, tensors, chosen)
        wants_x, wants_states, wants_weights = arguments[options + self._options :]
        return arguments[:first], call, arguments[results:options], (wants_x, wants_states, wants_weights)

    def _gradient_tensors(
        self, call: LayerCall, wants: tuple[bool, bool, bool], empty: Callable[..., Tensor]
    ) -> tuple[Tensor, ...]:
        wants_x, wants_states, wants_weights = wants
        N, _, F, H, P = call.sizes()
        rows, count = len(self.cell.gates) * H, len(self.cell.weights)
        states = call.state_shapes(N, H, P) if wants_states else ((0,),) * len(self.cell.states)
        every = ((rows, F), (rows, P), (rows,), (rows,), (P, H)) if wants_weights else ((0,),) * 5
        weights = every[:count]
        shapes = (call.like_x(F) if wants_x else (0,), *states, *weights * self.directions)
        return tuple(empty(*shape) for shape in shapes)

    def _backward_shapes(self, *arguments: Any) -> tuple[Tensor, ...]:
        _, call, _, wants = self._split(arguments)
        return self._gradient_tensors(call, wants, lambda *shape: call.x.new_empty(shape))

    # --- autograd

    def _save_for_backward(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        # The reserve is opaque bytes of the library: gates and states, laid out as its kernels read them.
        ctx.save_for_backward(*inputs[: self._inputs], output[0], output[-1])
        ctx.options = inputs[self._inputs : self._inputs + self._options]
        # Unused results then have the gradient None, and the library skips them.
        ctx.set_materialize_grads(False)

    def _differentiate(self, ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients by all arguments of the operator; `gradients` end with the reserve's."""
        run = getattr(torch.ops.scanline, f"{self.name}_backward").default
        return self._gradients(ctx, gradients[:-1], run)

    def _gradients(
        self, ctx: Any, gradients: Sequence[Tensor | None], run: Callable[..., tuple[Tensor, ...]]
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients by all arguments; None for those that are no tensors or not wanted."""
        needs = ctx.needs_input_grad
        weights = 1 + len(self.cell.states)  # index of the first
        wants_states, wants_weights = any(needs[1:weights]), any(needs[weights : weights + self._weights])
        derived = run(*gradients, *ctx.saved_tensors, *ctx.options, needs[0], wants_states, wants_weights)
        results = tuple(g if need else None for g, need in zip(derived, needs, strict=False))
        # The trailing None are for lengths, the options and `keep`, which have no gradient.
        return results + (None,) * (2 + self._options)

    # --- autograd of the backward pass: second derivatives

    def _save_backward(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        first = 1 + len(self.cell.states)
        # Not y and the reserve: the reference computes them again.
        ctx.save_for_backward(*inputs[: first + self._inputs])
        ctx.others = (None, None, *inputs[first + self._inputs + 2 :])
        ctx.set_materialize_grads(False)

    def _differentiate_backward(self, ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients by all arguments of `backward_pass`, computed by the reference."""

        def backward(*tensors: Any) -> tuple[Tensor, ...]:
            results, call, _, wants = self._split((*tensors, *ctx.others))
            return reference_call.differentiate(self.cell, call, results, wants)

        needs = ctx.needs_input_grad[: len(ctx.saved_tensors)]
        derived = reference_call.differentiate_again(backward, ctx.saved_tensors, needs, gradients)
        # Those by y and the reserve, which are functions of the other tensors, are part of theirs.
        return (*derived, *(None for _ in ctx.others))


class _Direct(torch.autograd.Function):
    """The operator without torch's dispatcher, whose Python side takes 0.1 ms a training step.

    Arguments: those of the schema, but the `LayerOperator` in the place of `keep`.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        *inputs, operator = arguments
        output = operator.forward_pass(*inputs, True)
        operator._save_for_backward(ctx, inputs, output)
        ctx.operator = operator
        return output[:-1]  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        operator = ctx.operator
        if any(gradient is not None and _is_batched(gradient) for gradient in gradients):
            return operator._gradients(ctx, gradients, operator._batched_gradients)  # type: ignore[no-any-return]
        if torch.is_grad_enabled():  # create_graph: the dispatcher records the backward pass
            return operator._differentiate(ctx, *gradients, None)  # type: ignore[no-any-return]
        return operator._gradients(ctx, gradients, operator.backward_pass)  # type: ignore[no-any-return]


def _is_plain(tensors: Sequence[Tensor | None]) -> bool:
    """Return whether these are ordinary CPU tensors outside any tracing, mode or function transform."""
    if (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack() != 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    ):
        return False
    for tensor in tensors:
        if tensor is not None and not (type(tensor) in _PLAIN and tensor.is_cpu):
            return False
    return True


_PLAIN = (Tensor, torch.nn.Parameter)


def _is_batched(tensor: Tensor) -> bool:
    """Return whether a tensor stands for a batch of tensors, as gradients do under `vmap`."""
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)
