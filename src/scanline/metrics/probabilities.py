"""Logits to probabilities and to the cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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


def mean_loss(logits: NDArray[Any], targets: NDArray[np.int64]) -> float:
    """Return the mean cross-entropy in nats, computed in float64.

    Args:
        logits: (N, K).
        targets: (N,) class indices.
    """
    target = torch.from_numpy(targets)
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), target))


def mean_probabilities(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of M arrays of probabilities, (..., K) each, added up in their order."""
    total = rows[0]
    # One after another: NumPy's order of summation depends on the shape, and so would the last bits.
    for each in rows[1:]:
        total = total + each
    return total / len(rows)


def log_mean_probabilities(rows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the logarithm of the mean of probabilities, which stays finite where they are too small.

    Args:
        rows: M arrays (..., K) of logits.

    Returns:
        (..., K) in float64; their softmax is the mean of the M softmaxes.
    """
    logarithms = [torch.from_numpy(each).double().log_softmax(-1).numpy() for each in rows]
    largest = logarithms[0]
    for each in logarithms[1:]:
        largest = np.maximum(largest, each)
    # The largest is subtracted before the exponential, which is 0 for numbers below -745.
    total = np.exp(logarithms[0] - largest)
    for each in logarithms[1:]:
        # One after another, as torch's `logsumexp` has other last bits for other numbers of sequences.
        total = total + np.exp(each - largest)
    found: NDArray[np.float64] = largest + np.log(total) - math.log(len(rows))
    return found
