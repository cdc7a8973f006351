"""Torch's fused recurrent functions, `torch.lstm` and its neighbours, with lengths. The only caller of them.

Torch knows lengths in the packed form only, which is slower than padding. Here padding is kept out of what is
returned instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scanline.cells import Cell, Weights
from scanline.kernels.steps import reverse_steps, step_mask


def run_layer(
    cell: Cell,
    x: Tensor,
    states: Sequence[Tensor | None] | None,
    weights: Sequence[Tensor | None],
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    final_states: bool = True,
) -> tuple[Tensor, tuple[Tensor, ...] | None]:
    """Compute one layer in one direction.

    Args:
        cell: A cell with a `torch_function`.
        x: Inputs, (N, T, F), on any device. Values past a sequence's end are not read: they may be NaN.
        states: Initial states in the cell's order, (N, H), each or all None for zeros.
        weights: [weight_ih, weight_hh, bias_ih, bias_hh], the biases or None, then weight_hr if the cell
            has a projection.
        lengths: (N,) int64 in 0..T on the device of x; None if all are T.
        reverse: Whether each sequence is read from its own last step to its first.
        final_states: Whether the states are wanted; with lengths they cost extra.

    Returns:
        Outputs (N, T, H), 0 past each sequence's end, and the states after each sequence's last step, each
        (N, H), or None if they are not wanted.
    """
    outside = None
    initial = _initial(cell, x, states, weights)
    # Replaced below by a wider matrix if states must be held in the padding.
    weight_ih = weights[0]
    if lengths is not None:
        outside = ~step_mask(lengths, x.shape[1])[:, :, None]  # (N, T, 1)
        # Before anything is computed: a gradient of 0 times a NaN in the padding would still be NaN.
        x = x.masked_fill(outside, 0.0)
        if final_states and len(cell.states) > 1:
            x, weight_ih = _with_hold(cell, x, weight_ih, outside)
    # Reversed within each length, so that the padding stays behind the sequence: torch reads forward, from
    # the sequence's last step to its first, and then the padding.
    if reverse:
        x = reverse_steps(x, lengths)
    tensors = [weight for weight in (weight_ih, *weights[1:]) if weight is not None]
    # (has_biases, layers, dropout, train, bidirectional, batch_first). cuDNN keeps what a backward pass needs
    # in its "train" mode only.
    settings = (weights[2] is not None, 1, 0.0, torch.is_grad_enabled(), False, True)
    given: Any = initial if len(initial) > 1 else initial[0]
    y, *last = getattr(torch, str(cell.torch_function))(x, given, tensors, *settings)
    final = tuple(state[0] for state in last)  # (N, H), or (N, proj_size) of a projected h
    if outside is not None and lengths is not None:
        if final_states:  # h is an output, so that it can be looked up; the other states were held
            index = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, y.shape[2])
            h = torch.where((lengths > 0)[:, None], y.gather(1, index)[:, 0], initial[0][0])
            final = (h, *final[1:])
        y = y.masked_fill(outside if not reverse else reverse_steps(outside, lengths), 0.0)
    if reverse:
        y = reverse_steps(y, lengths)
    return y, final if final_states else None


def _initial(
    cell: Cell, x: Tensor, states: Sequence[Tensor | None] | None, weights: Sequence[Tensor | None]
) -> tuple[Tensor, ...]:
    """Return the initial states, each (1, N, H); with a projection h is narrower than the other states."""
    widths = Weights(*weights).state_widths(len(cell.states))  # type: ignore[arg-type]  # only biases may be None
    return tuple(
        x.new_zeros(1, x.shape[0], width) if state is None else state[None]
        for state, width in zip(states or (None,) * len(widths), widths, strict=True)
    )


def _with_hold(cell: Cell, x: Tensor, weight_ih: Tensor | None, outside: Tensor) -> tuple[Tensor, Tensor]:
    """Return x with one more feature, 1 in the padding, and weight_ih with its column of `hold_sums`.

    In the padding the gates are then exactly 0 or 1 and the states stay as they are; inside a sequence the
    feature is 0 and changes nothing.
    """
    assert weight_ih is not None
    # One column more, not a mask after every step: the fused function computes all steps in one call.
    units = weight_ih.shape[0] // len(cell.gates)
    sums = weight_ih.new_tensor([cell.hold_sums.get(gate, 0.0) for gate in cell.gates])
    column = sums.repeat_interleave(units)[:, None]  # (G*H, 1)
    return torch.cat([x, outside.to(x.dtype)], dim=2), torch.cat([weight_ih, column], dim=1)
