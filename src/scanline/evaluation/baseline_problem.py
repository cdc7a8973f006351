"""What baselines are fitted to and predict: sequences of one length with their targets."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.dataset import Dataset
from scanline.data.source import ClassName, Indices, SequenceSource
from scanline.evaluation.baseline_methods import Method, Size
from scanline.evaluation.fixed_length import fixed_length

_LONGEST = 1_000  # steps; longer sequences are resampled to as many
_MAX_VALUES = 2**28  # in memory at once, 1 GiB


@dataclass(frozen=True, eq=False)
class Part:
    """Sequences to fit to with their targets, and sequences to predict with theirs."""

    fitted: NDArray[Any]
    targets: NDArray[Any]
    predicted: NDArray[Any]
    true: NDArray[Any]


class Problem:
    """Sequences of equal length with their targets, and what to fit to and to predict.

    Attributes:
        targets: (N,) of the sequences of the training and the validation split.
        has_test: Whether there is a test split.
        folds: For each fold, indices to fit to and to validate on.
        sizes: Size of each fold and of the test.
    """

    def __init__(
        self,
        sources: list[SequenceSource],
        test: SequenceSource | None,
        folds: Sequence[tuple[Indices, Indices]],
    ) -> None:
        self._sources, self._test, self.folds = sources, test, folds
        self._steps = min(max(source.max_length for source in sources), _LONGEST)
        # Together, so that a class has the same number in all splits.
        labels = _labels([*sources, *([] if test is None else [test])])
        self.targets = np.concatenate(labels[: len(sources)])
        self._test_targets = labels[-1]  # of the test split, if there is one
        self.has_test = test is not None
        shape = sources[0].features, self._steps
        self.sizes = [Size(len(fitted), len(predicted), *shape) for fitted, predicted in folds]
        if test is not None:
            self.sizes.append(Size(len(self.targets), len(test), *shape))

    @classmethod
    def of(cls, data: Dataset, folds: Sequence[tuple[Indices, Indices]] | None) -> Problem:
        """Return the problem of a data set; for the arguments see `measure_baselines`."""
        sources = [data.train] + ([] if data.validation is None else [data.validation])
        ends = np.cumsum([len(source) for source in sources])
        if folds is None:
            folds = [(np.arange(ends[0]), np.arange(ends[0], ends[1]))] if len(sources) > 1 else []
        return cls(sources, data.test, folds)

    @property
    def too_large(self) -> str:
        """Why the sequences cannot be held in memory as one array of numbers, "" if they can."""
        if any(self._sources[0].info.categories):
            return "needs numbers, found categories"
        n = len(self.targets) + (0 if self._test is None else len(self._test))
        values = n * self._sources[0].features * self._steps
        if values <= _MAX_VALUES:
            return ""
        return f"needs all sequences in memory, at most {_MAX_VALUES:,} values, found {values:,}"

    def part(self, method: Method, fitted: Indices, predicted: Indices | None) -> Part:
        """Return what a method is fitted to and predicts.

        Args:
            method: The method, which decides about the shape.
            fitted: Which known sequences to fit to.
            predicted: Which known sequences to predict; None predicts the test split.
        """
        targets, true = self.targets[fitted], self._true(predicted)
        if method.takes == "targets":
            return Part(np.zeros((len(targets), 1)), targets, np.zeros((len(true), 1)), true)
        known, test = self._arrays
        x, z = known[fitted], test if predicted is None else known[predicted]
        # The values of a picture have a common unit, other features have units of their own.
        if self._sources[0].info.picture is None:
            x, z = _standardised(x, z)
        if method.takes == "vectors":
            x, z = x.reshape(len(x), -1), z.reshape(len(z), -1)
        return Part(x, targets, z, true)

    def _true(self, predicted: Indices | None) -> NDArray[Any]:
        return self._test_targets if predicted is None else self.targets[predicted]

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The known sequences (N, F, T) and those of the test split (n, F, T), made when they are needed."""
        known = np.concatenate([fixed_length(source, self._steps) for source in self._sources])
        empty = np.zeros((0, *known.shape[1:]), np.float32)
        return known, empty if self._test is None else fixed_length(self._test, self._steps)


def _labels(sources: list[SequenceSource]) -> list[NDArray[Any]]:
    """Return the targets of several splits: numbers, or indices into the classes of all of them."""
    if sources[0].info.numeric_targets:
        return [np.array(source.classes, np.float64)[source.targets] for source in sources]
    # A split of its own file may lack a class, or have one more.
    places: dict[ClassName, int] = {}
    for source in sources:
        for name in source.classes:
            places.setdefault(name, len(places))
    return [np.array([places[name] for name in source.classes])[source.targets] for source in sources]


def _standardised(
    fitted: NDArray[np.float32], predicted: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return both with mean 0 and deviation 1 of each feature of `fitted` (N, F, T); NaN becomes the mean."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a feature that is always missing has no mean
        mean = np.asarray(np.nanmean(fitted, (0, 2), np.float64))[:, None]
        deviation = np.asarray(np.nanstd(fitted, (0, 2), np.float64))[:, None]
    # A constant feature stays constant.
    deviation = np.where(deviation > 0, deviation, 1.0)
    first, second = (
        np.nan_to_num(((values - mean) / deviation).astype(np.float32)) for values in (fitted, predicted)
    )
    return first, second
