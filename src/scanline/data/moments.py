"""Statistics of the values of each feature, added up over row groups without a loss of digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_VALUES = 2**20  # values converted to float64 at a time


@dataclass(frozen=True, eq=False)
class Moments:
    """Values of each of F features.

    Attributes:
        count: (F,) number of values that are present.
        mean: (F,) their mean; 0 if there is none.
        m2: (F,) sum of their squared differences from the mean.
    """

    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]

    @classmethod
    def none(cls, features: int) -> Self:
        """Return the statistics of no values."""
        return cls(np.zeros(features, np.int64), np.zeros(features), np.zeros(features))

    @classmethod
    def of(cls, steps: NDArray[Any]) -> Self:
        """Return the statistics of (S, F) values, NaN where one is missing."""
        total = cls.none(steps.shape[1])
        rows = max(1, _VALUES // steps.shape[1])
        for first in range(0, len(steps), rows):
            values = steps[first : first + rows].astype(np.float64)
            present = ~np.isnan(values)
            if present.all():
                count = np.full(values.shape[1], len(values))
            else:
                count = present.sum(0)
                values[~present] = 0
            mean = values.sum(0) / np.maximum(count, 1)
            values -= mean
            values[~present] = 0
            total = total.plus(cls(count, mean, np.einsum("sf,sf->f", values, values)))
        return total

    def plus(self, other: Self) -> Self:
        """Return the statistics of the values of both.

        Source: Chan, Golub & LeVeque (1979), Updating Formulae and a Pairwise Algorithm.
        """
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        delta = other.mean - self.mean
        mean = self.mean + delta * share
        return type(self)(count, mean, self.m2 + other.m2 + delta**2 * (self.count * share))
