"""Choose the backend of a layer and run the layer on it.

- "native": Scanline's own library: float32 and bfloat16 on the CPU.
- "torch": torch's fused functions: any device and dtype.
- "reference": the cell's own step in plain torch: any device and dtype, slow; for cells that torch lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from scanline.cells import Cell, Weights
from scanline.errors import UsageError
from scanline.kernels import reference, torch_backend
from scanline.kernels.abi import PRECISIONS
from scanline.kernels.library import load, why_absent
from scanline.kernels.operator import LayerOperator
from scanline.kernels.operators import BIDIRECTIONAL, OPERATORS

Backend = Literal["native", "torch", "reference"]
CHOICES = ("auto", "native", "torch")


def why_not_native(cell: Cell, dtype: torch.dtype, device: torch.device) -> str:
    """Return why the native library cannot compute a layer of `cell`; empty if it can.

    Args:
        cell: The layer's cell.
        dtype: Of weights and inputs.
        device: Of weights and inputs.
    """
    if cell.native_operator not in OPERATORS:
        known = ", ".join(dict.fromkeys(operator.cell.title for operator in OPERATORS.values()))
        return f"the native library computes {known}, not {cell.title}"
    if device.type != "cpu":
        return f"the native library runs on the CPU, not on {device.type}"
    if dtype not in (torch.float32, torch.bfloat16):
        return f"the native library computes float32 and bfloat16, not {str(dtype).removeprefix('torch.')}"
    return _why_absent()


def choose_backend(choice: str, cell: Cell, dtype: torch.dtype, device: torch.device) -> Backend:
    """Return the backend that computes a layer.

    Args:
        choice: "native"; "torch", which is the reference for a cell that torch lacks; or "auto": native if
            possible.
        cell: The layer's cell.
        dtype: Of weights and inputs.
        device: Of weights and inputs.

    Raises:
        UsageError: If `choice` is another word, or "native" and that is not possible.
    """
    if choice not in CHOICES:
        raise UsageError(f"backend must be one of {', '.join(CHOICES)}, got {choice!r}")
    if choice != "torch":
        reason = why_not_native(cell, dtype, device)
        if not reason:
            return "native"
        if choice == "native":
            raise UsageError(f"backend=native is not possible: {reason}; use backend=auto")
    # "torch" only excludes the native library: the reference is plain torch, too.
    return "reference" if cell.torch_function is None else "torch"


def computed_precision(backend: str, precision: str) -> str:
    """Return the precision that `backend` computes in if `precision` is requested.

    Only the native library computes bfloat16 products, and only with a kernel for it.
    """
    library = load() if backend == "native" else None
    if library is None or library.kernel(PRECISIONS[precision]) is None:
        return "float32"
    return precision


def run_layer(
    backend: str,
    cell: Cell,
    x: Tensor,
    states: Sequence[Tensor | None] | None,
    weights: Sequence[Tensor | None],
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    batch_first: bool = True,
    precision: str = "float32",
    final_states: bool = True,
) -> tuple[Tensor, tuple[Tensor, ...] | None]:
    """Compute one layer in one direction.

    Args:
        backend: What `choose_backend` returned.
        cell: The layer's cell.
        x: Inputs, (N, T, F). Values past a sequence's end are not read: they may be NaN.
        states: Initial states in the cell's order, each (N, H) or None for zeros; None for all zeros.
        weights: [weight_ih (G*H, F), weight_hh (G*H, H), bias_ih, bias_hh], the biases (G*H,) or None, and
            weight_hr (P, H) if the cell has a projection: h has P values then.
        lengths: (N,) int64 in 0..T on the device of x; None if all are T.
        reverse: Whether each sequence is read from its own last step to its first.
        batch_first: False takes x and returns outputs as (T, N, ...).
        precision: "float32" or "bfloat16"; of the native backend's products.
        final_states: Whether the states are wanted; the torch backend returns None otherwise.

    Returns:
        Outputs (N, T, H), 0 past each sequence's end, and the states after each sequence's last step, each
        (N, H).
    """
    if backend == "native":
        return _run_native(
            OPERATORS, cell, x, states, weights, lengths,
            reverse=reverse, batch_first=batch_first, precision=precision,
        )  # fmt: skip
    if not batch_first:
        x = x.transpose(0, 1)
    last: tuple[Tensor, ...] | None
    if backend == "reference":
        given = Weights(*weights)  # type: ignore[arg-type]  # only biases may be None
        widths = given.state_widths(len(cell.states))
        initial = tuple(
            x.new_zeros(x.shape[0], width) if state is None else state
            for state, width in zip(states or (None,) * len(widths), widths, strict=True)
        )
        y, last = reference.scan(cell, x, initial, given, lengths, reverse)
    else:
        y, last = torch_backend.run_layer(
            cell, x, states, weights, lengths, reverse=reverse, final_states=final_states
        )
    return y if batch_first else y.transpose(0, 1), last


def run_both(
    backend: str,
    cell: Cell,
    x: Tensor,
    states: Sequence[Tensor] | None,
    weights: Sequence[Sequence[Tensor | None]],
    lengths: Tensor | None = None,
    *,
    batch_first: bool = True,
    precision: str = "float32",
    final_states: bool = True,
) -> tuple[Tensor, tuple[Tensor, ...] | None]:
    """Compute one layer in both directions; the native library does in one call.

    Args:
        backend: As for `run_layer`.
        cell: As for `run_layer`.
        x: As for `run_layer`.
        states: Initial states in the cell's order, each (2, N, H); None for all zeros.
        weights: Those of the forward direction and of the backward one, each as for `run_layer`.
        lengths: As for `run_layer`.
        batch_first: As for `run_layer`.
        precision: As for `run_layer`.
        final_states: As for `run_layer`.

    Returns:
        Outputs (N, T, 2H), 0 past each sequence's end, and the states after each direction's last step, each
        (2, N, H), which are no views.
    """
    if backend == "native":
        flat = [*weights[0], *weights[1]]
        return _run_native(
            BIDIRECTIONAL, cell, x, states, flat, lengths, batch_first=batch_first, precision=precision
        )
    outputs, last = [], []
    for direction in (0, 1):
        output, final = run_layer(
            backend, cell, x, None if states is None else [state[direction] for state in states],
            weights[direction], lengths, reverse=direction == 1, batch_first=batch_first,
            precision=precision, final_states=final_states,
        )  # fmt: skip
        outputs.append(output)
        last.append(final)
    y = torch.cat(outputs, dim=-1)
    if last[0] is None or last[1] is None:
        return y, None
    return y, tuple(torch.stack(each) for each in zip(last[0], last[1], strict=True))


def _run_native(
    operators: Mapping[str, LayerOperator],
    cell: Cell,
    x: Tensor,
    states: Sequence[Tensor | None] | None,
    weights: Sequence[Tensor | None],
    lengths: Tensor | None,
    **options: Any,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run the native operator; weights in bfloat16 are computed from and returned as such."""
    # The library knows float32 arrays only; bfloat16 is a precision of its products, not a dtype.
    dtype = x.dtype
    states = states or (None,) * len(cell.states)
    if dtype != torch.float32:
        x = x.float()
        states, weights = ([None if t is None else t.float() for t in each] for each in (states, weights))
    y, *last = operators[str(cell.native_operator)](x, states, weights, lengths, **options)
    if dtype == torch.float32:
        return y, tuple(last)
    return y.to(dtype), tuple(state.to(dtype) for state in last)


def _why_absent() -> str:
    return why_absent()


# Traced code cannot load a library. The result is a constant, as a loaded library is never unloaded.
# torch.compiler.assume_constant_result does only this, but imports the compiler: a second at every start.
_why_absent._dynamo_marked_constant = True  # type: ignore[attr-defined]
