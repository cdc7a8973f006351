"""Logits to probabilities and to the cross-entropy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return class probabilities.

    Args:
        logits: (..., K).

    Returns:
        (..., K) in float64; the last axis sums to 1.
    """
    return torch.from_numpy(logits).double().softmax(-1).numpy()


def mean_loss(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """Return the mean cross-entropy in nats, computed in float64.

    Args:
        logits: (N, K).
        targets: (N,) class indices.
    """
    target = torch.from_numpy(targets)
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), target))
