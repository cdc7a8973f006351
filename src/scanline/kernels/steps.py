"""Padding and order of steps, for the paths that have no lengths of their own."""

from __future__ import annotations

import torch
from torch import Tensor


def step_mask(lengths: Tensor, steps: int) -> Tensor:
    """(N, T) bool, true where a step is inside its sequence. lengths: (N,)."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def reverse_steps(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence back to front within its own length; padding stays where it is.

    values: (N, T, F). lengths: (N,), or None if all are T. It is its own inverse.
    """
    if lengths is None:
        return values.flip(1)
    steps = torch.arange(values.shape[1], device=values.device)
    index = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)  # (N, T)
    return values.gather(1, index[:, :, None].expand_as(values))
