"""The outputs that a network computes for every prefix of a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.model.network import Network


@torch.inference_mode()
def outputs_by_step(network: Network, values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the outputs for the first 1, 2, ..., T steps of each sequence.

    Args:
        network: The network.
        values: (N, T, F), as for the network.
        lengths: (N,) number of steps, or None if all are T.

    Returns:
        (N, T, M). Past a sequence's end, the outputs for the whole sequence are repeated. The last step's
        outputs are those of the network itself, for every direction and pooling.
    """
    network.eval()
    N, T = values.shape[:2]
    ends = torch.full((N,), T, dtype=torch.int64, device=values.device) if lengths is None else lengths
    every_step = network.pooling.every_step  # nothing is pooled; both directions read the whole sequence
    # Otherwise the backward direction starts anew at every end.
    if network.architecture.bidirectional and not every_step:
        return torch.stack([_outputs_of_prefix(network, values, ends, step) for step in range(1, T + 1)], 1)
    if every_step:
        outputs: Tensor = network(values, lengths)
    else:
        # Float64, as cumulative sums add up rounding errors over T steps.
        pooled = network.pooling.along(network.outputs(values, lengths).double())  # (N, T, H)
        dtype = values.dtype if values.is_floating_point() else torch.float32
        outputs = network.project(pooled.to(dtype), network.static_of(values))
    # Steps past the end repeat the outputs of the sequence's last step.
    last = (ends - 1)[:, None].clamp(max=T - 1)
    steps = torch.minimum(torch.arange(T, dtype=torch.int64, device=values.device)[None], last)  # (N, T)
    return outputs.gather(1, steps[:, :, None].expand_as(outputs))


def first_confident_steps(probabilities: NDArray[Any], threshold: float) -> NDArray[np.int64]:
    """Return after how many steps, (N,), a class first has the probability `threshold`; 0 if never.

    Args:
        probabilities: (N, T, K) after each step. Past a sequence's end they repeat those of its last step.
        threshold: Probability above 0.
    """
    reached = probabilities.max(2) >= threshold  # (N, T)
    # `argmax` of booleans is the first True, and 0 if there is none, hence the `any`.
    return np.where(reached.any(1), reached.argmax(1) + 1, 0)


def _outputs_of_prefix(network: Network, values: Tensor, ends: Tensor, step: int) -> Tensor:
    own = ends.clamp(max=step)
    outputs: Tensor = network(values[:, :step], None if (own == step).all() else own)
    return outputs
