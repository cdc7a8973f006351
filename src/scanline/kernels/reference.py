"""The reference: any cell over whole sequences, step by step in plain torch.

It defines what every other backend computes, computes cells that no other backend knows, and yields the
values of each step for traces. Past a sequence's end the states stay unchanged, as with TensorFlow's
`sequence_length`, and outputs are 0; a reversed pass starts at each sequence's own last step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from scanline.cells import NO_INTERVENTION, Cell, Intervention, Weights
from scanline.kernels.steps import step_mask


def iterate(
    cell: Cell,
    x: Tensor,
    weights: Weights,
    states: tuple[Tensor, ...] | None = None,
    inside: Tensor | None = None,
    intervention: Intervention = NO_INTERVENTION,
) -> Iterator[dict[str, Tensor]]:
    """Yield the values of one step after another.

    Args:
        cell: What to compute.
        x: Inputs, time first: (T, F) of one sequence or (T, N, F).
        weights: Weights, of the dtype of x.
        states: Initial states, each (..., H); None for zeros.
        inside: (T, N, 1) bool, False where a sequence has ended and its states stay unchanged; None if none
            ends before T.
        intervention: What to change in every step.

    Yields:
        The cell's `traced` values by name, each (..., H).
    """
    if states is None:
        widths = weights.state_widths(len(cell.states))
        states = tuple(x.new_zeros(*x.shape[1:-1], width) for width in widths)
    # All steps' input products at once: one large matrix product instead of T small ones.
    for time, inputs in enumerate(weights.from_input(x)):
        values = cell.step(inputs, states, weights, intervention)
        # Only states are held: outputs and gates of the padding are the caller's to ignore.
        if inside is not None:
            for name, state in zip(cell.states, states, strict=True):
                values[name] = torch.where(inside[time], values[name], state)
        states = tuple(values[name] for name in cell.states)
        yield values


def scan(
    cell: Cell,
    x: Tensor,
    states: tuple[Tensor, ...] | None,
    weights: Weights,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Read a batch of sequences. Differentiable by torch's autograd.

    Args:
        cell: What to compute.
        x: Inputs, (N, T, F), of any floating dtype. Values past a sequence's end are not read and may be NaN.
        states: Initial states, each (N, H); None for zeros.
        weights: Weights, of the dtype of x.
        lengths: (N,) whole numbers in 0..T; None if all are T.
        reverse: Whether each sequence is read from its own last step to its first.

    Returns:
        Outputs (N, T, H), 0 past each sequence's end, and the states after each sequence's last step, each
        (N, H).
    """
    N, T = x.shape[:2]
    if states is None:
        states = tuple(x.new_zeros(N, width) for width in weights.state_widths(len(cell.states)))
    inside = None
    x = x.transpose(0, 1)  # (T, N, F)
    if lengths is not None:
        inside = step_mask(lengths, T).T[:, :, None]  # (T, N, 1)
        # Before anything is computed: a gradient of 0 times a NaN in the padding would still be NaN.
        x = x.masked_fill(~inside, 0.0)
    # Padding comes first in a reversed pass: it holds the initial states until a sequence's last step.
    if reverse:
        x, inside = x.flip(0), None if inside is None else inside.flip(0)
    outputs = []
    for values in iterate(cell, x, weights, states, inside):
        outputs.append(values["h"])
        states = tuple(values[name] for name in cell.states)
    y = torch.stack(outputs) if outputs else x.new_zeros(0, N, weights.weight_hh.shape[1])
    if inside is not None:
        y = y.masked_fill(~inside, 0.0)
    if reverse:
        y = y.flip(0)
    return y.transpose(0, 1), states
