"""From the outputs of all steps to one vector a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from scanline.kernels.steps import step_mask


def pool(
    outputs: Tensor, lengths: Tensor | None, how: str, directions: int, states: Tensor | None = None
) -> Tensor:
    """One vector (N, D*H) for each sequence.

    outputs: (N, T, D*H), 0 past each sequence's end. lengths: (N,), or None if all are T.
    how: "last" takes each direction's state after it has read the whole sequence: the forward one at the
    sequence's last step, the backward one at its first; "mean" and "max" go over the sequence's own steps.
    "mean" adds up in float64: how many zeros are added then makes no difference.
    states: what "last" takes, (N, D*H), where it is known already.
    """
    steps = outputs.shape[1]
    if how == "mean":
        total = outputs.sum(1, dtype=torch.float64)
        return (total / (steps if lengths is None else lengths[:, None])).to(outputs.dtype)
    if how == "max":
        if lengths is not None:
            outputs = outputs.masked_fill(~step_mask(lengths, steps)[:, :, None], -torch.inf)
        return outputs.amax(1)
    if states is not None:
        return states
    if lengths is None:
        last = outputs[:, -1]
    else:
        last = outputs[torch.arange(len(outputs), device=outputs.device), lengths - 1]
    if directions == 1:
        return last
    half = outputs.shape[2] // 2
    return torch.cat([last[:, :half], outputs[:, 0, half:]], dim=1)
