"""Shift and scale of the values that the network reads, fitted to the training split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanline.data.moments import Moments
from scanline.data.source import SequenceSource
from scanline.data.static_features import one_step_each

_ROWS = 2**18  # steps that are converted to float64 at a time


@dataclass(frozen=True, eq=False)
class Scaler:
    """Standardises values: (value - shift) / scale, in float32.

    The network holds both arrays, so that its weights file is enough to predict from raw values. The loader
    applies the scaler to training batches; the result has the same bits wherever it is applied.

    Attributes:
        shift: (F,) float32.
        scale: (F,) float32, not 0.
    """

    shift: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def fit(cls, train: SequenceSource, method: str, largest: float = 1.0) -> Self:
        """Fit shift and scale to the training split.

        Args:
            train: The training split, as the network reads it; a step counts by the weight of its sequence.
            method: "standard" gives each feature mean 0 and standard deviation 1; "levels" divides by
                `largest`; "none" keeps the values.
            largest: Largest value that the data can have, 255 for bytes.

        Categories are not scaled. Static features count once for each sequence, not for each step.
        """
        fitted = cls._fit(train, method, largest)
        if static := list(train.info.static):
            own = cls._fit(one_step_each(train), method, largest)
            fitted.shift[static], fitted.scale[static] = own.shift[static], own.scale[static]
        for feature, names in enumerate(train.info.categories):
            if names is not None:
                fitted.shift[feature], fitted.scale[feature] = 0, 1
        return fitted

    @classmethod
    def _fit(cls, train: SequenceSource, method: str, largest: float) -> Self:
        F = train.features
        if method != "standard":
            return cls(
                np.zeros(F, np.float32), np.full(F, largest if method == "levels" else 1.0, np.float32)
            )
        if train.layout is not None and train.layout.statistics is not None and train.weights is None:
            return cls._of(*_mean_and_deviation(train.layout.statistics))
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        for part in train.parts():
            steps = part.steps_between(0, len(part))
            weights = None if part.weights is None else np.repeat(part.weights, part.lengths)
            # In pieces, so that the float64 copy stays small; float64, because float32 sums lose digits.
            for first in range(0, len(steps), _ROWS):
                chosen = slice(first, first + _ROWS)
                own = None if weights is None else weights[chosen]
                if own is None or own.any():
                    scaler.partial_fit(steps[chosen].astype(np.float64), sample_weight=own)
        return cls._of(scaler.mean_, scaler.scale_)

    @classmethod
    def _of(cls, mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> Self:
        shift, scale = mean.astype(np.float32), deviation.astype(np.float32)
        scale[scale < np.finfo(np.float32).tiny] = 1  # a deviation below float32's range: a constant feature
        return cls(shift, scale)

    def apply(self, values: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Standardise values of shape (..., F), any real dtype.

        Args:
            values: What to standardise.
            out: Where to write the result, `values` itself if it is float32; None allocates new memory.
        """
        if out is None:
            out = np.empty(values.shape, np.float32)
        if self._shifts:  # x - 0 is x
            values = np.subtract(values, self.shift, out=out, dtype=np.float32)
        np.divide(values, self._divisor, out=out, dtype=np.float32)
        return out

    @cached_property
    def _shifts(self) -> bool:
        return bool(self.shift.any())

    @cached_property
    def _divisor(self) -> NDArray[np.float32] | np.float32:
        # A scalar divisor is faster than a broadcast array and has the same bits.
        first: np.float32 = self.scale[0]
        return self.scale if (self.scale != first).any() else first


def _mean_and_deviation(moments: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation, 1 for constant features as StandardScaler has it."""
    count = np.maximum(moments.count, 1)
    variance = moments.m2 / count
    # A variance within the rounding errors of its computation; source: sklearn's _is_constant_feature.
    epsilon = np.finfo(np.float64).eps
    constant = variance <= count * epsilon * variance + (count * moments.mean * epsilon) ** 2
    return moments.mean, np.where(constant, 1.0, np.sqrt(variance))
