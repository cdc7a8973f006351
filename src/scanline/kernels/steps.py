"""Masks and reversal for padded sequences, for backends that know no lengths."""

from __future__ import annotations

import torch
from torch import Tensor


def step_mask(lengths: Tensor, steps: int) -> Tensor:
    """Return which steps of a padded batch are inside their sequences.

    Args:
        lengths: (N,) whole numbers.
        steps: Number of steps T.

    Returns:
        (N, T) bool.
    """
    return torch.arange(steps, dtype=torch.int64, device=lengths.device) < lengths[:, None]


def reverse_steps(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each sequence within its own length; padding stays where it is.

    The function is its own inverse.

    Args:
        values: (N, T, F).
        lengths: (N,); None if all are T.

    Returns:
        (N, T, F).
    """
    if lengths is None:
        return values.flip(1)
    steps = torch.arange(values.shape[1], dtype=torch.int64, device=values.device)
    index = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)  # (N, T)
    return values.gather(1, index[:, :, None].expand_as(values))
