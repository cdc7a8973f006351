"""Calibration: whether predictions with probability 0.9 are correct nine times in ten."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.metrics.probabilities import mean_loss
from scanline.metrics.results import Result

BINS = 15
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0


class ReliabilityBin(Result):
    """Predictions of similar confidence.

    Attributes:
        low: Lower bound of the confidence, exclusive.
        high: Upper bound, inclusive.
        n: Number of predictions.
        confidence: Their mean confidence.
        accuracy: Their accuracy.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class Reliability(Result):
    """How far confidence is from accuracy.

    Attributes:
        error: Expected calibration error.
        bins: The bins that hold predictions, by increasing confidence.
    """

    error: float
    bins: list[ReliabilityBin]


def reliability(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Compute the expected calibration error and the reliability diagram.

    Args:
        confidence: (N,) probability of each predicted class.
        correct: (N,) whether each prediction is correct.
        bins: Number of bins of equal width; a value on a border belongs to the lower bin.

    Returns:
        The error is the mean over all predictions of the distance between confidence and accuracy in the
        prediction's bin.

    Source: Guo et al. (2017), "On calibration of modern neural networks", eq. 3, with 15 bins.
    """
    borders = np.linspace(0, 1, bins + 1)
    # side="left" puts a value on a border into the lower bin; the clip keeps 0 in the first bin.
    bin_of = np.clip(np.searchsorted(borders, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    # Empty bins get 0 / 1 and are left out below.
    mean_confidence = np.bincount(bin_of, confidence, bins) / np.maximum(counts, 1)
    accuracy = np.bincount(bin_of, correct, bins) / np.maximum(counts, 1)
    return Reliability(
        error=float((counts * np.abs(mean_confidence - accuracy)).sum() / len(confidence)),
        bins=[
            ReliabilityBin(
                low=float(borders[index]),
                high=float(borders[index + 1]),
                n=int(counts[index]),
                confidence=float(mean_confidence[index]),
                accuracy=float(accuracy[index]),
            )
            for index in np.flatnonzero(counts)
        ],
    )


def fit_temperature(logits: NDArray[Any], targets: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the mean cross-entropy of the logits divided by it.

    Args:
        logits: (N, K) for the validation split, never for the split that is reported.
        targets: (N,) class indices.

    Returns:
        The temperature. It is 1 if all predictions are correct: the cross-entropy then has no minimum.
        Dividing by it changes no prediction.

    Source: Guo et al. (2017), section 4.2; scipy's bounded search over its logarithm.
    """
    if (logits.argmax(1) == targets).all():
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return mean_loss(logits / np.float32(np.exp(log_temperature)), targets)

    # Over the logarithm, so that halving and doubling are equally far from 1 and the result is positive.
    bounds = (np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
