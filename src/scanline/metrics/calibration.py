"""Whether the probabilities can be believed: of answers given with 0.9, nine in ten should be right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.metrics.probabilities import mean_loss

BINS = 15
_COLDEST, _HOTTEST = 0.05, 20.0


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS
) -> dict[str, Any]:
    """How far the probabilities of the answers given are from the share that is right.

    confidence: (N,) probability of each answer, the largest of its class probabilities. right: (N,).
    Returns {"error", "bins"}: the expected calibration error, the mean over all answers of the distance
    between confidence and accuracy in its bin, and for each bin that has any {"low", "high", "n",
    "confidence", "accuracy"}. Bins are of equal width; a value on a border belongs to the lower one.
    Source: Guo et al. 2017, "On calibration of modern neural networks", eq. 3, with 15 bins.
    """
    borders = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(borders, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    mean = np.bincount(bin_of, confidence, bins) / np.maximum(counts, 1)
    share = np.bincount(bin_of, right, bins) / np.maximum(counts, 1)
    return {
        "error": float((counts * np.abs(mean - share)).sum() / len(confidence)),
        "bins": [
            {
                "low": float(borders[index]),
                "high": float(borders[index + 1]),
                "n": int(counts[index]),
                "confidence": float(mean[index]),
                "accuracy": float(share[index]),
            }
            for index in np.flatnonzero(counts)
        ],
    }


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """By which number logits are to be divided so that the mean cross-entropy of these sequences is least.

    logits: (N, K), labels: (N,), of the validation part: never of what judges. The answers stay the same.
    Where all are right there is no least, for nothing says how sure is too sure: it stays 1.
    Source: Guo et al. 2017, section 4.2; scipy's bounded search over its logarithm.
    """
    if (logits.argmax(1) == labels).all():
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return mean_loss(logits / np.float32(np.exp(log_temperature)), labels)

    bounds = (np.log(_COLDEST), np.log(_HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
