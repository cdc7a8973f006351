"""What trials are validated on: the validation split of the data, one that is drawn, or folds."""

from __future__ import annotations

import numpy as np

from scanline.data.dataset import ALL, Dataset
from scanline.data.memory import MemorySource
from scanline.data.source import SequenceSource
from scanline.data.splits import number_as_class
from scanline.recipe import Recipe

# Few sequences are validated in folds, so that each is validated once; where that takes too long, or there
# are enough, on one split.
_FEW, _FOLDS = 300, 4
_MOST_STEPS = 3_000_000  # steps of sequences that a run of the recipe trains on, repetitions included
_FRACTIONS = ((500, 0.3), (2_000, 0.25), (5_000, 0.2))  # for fewer sequences than that


def choose_validation(recipe: Recipe, data: Dataset, folds: int | None) -> tuple[int, float]:
    """Return the number of folds, 0 for a split, and the fraction of a split that has to be drawn, else 0.

    Args:
        recipe: The recipe of the study.
        data: The data set as it was read, without the test split.
        folds: What the user asks for; None: decide.
    """
    if folds:
        return folds, 0.0
    if "validation" in data.splits:
        return 0, 0.0
    source = data.splits.get("train") or data.splits[ALL]
    test = recipe.split.test if ALL in data.splits and "test" not in data.unread else 0.0
    n = round(len(source) * (1 - test))
    if folds is None and n <= _FEW and _size(recipe, n) * source.total_steps / len(source) <= _MOST_STEPS:
        possible = min(_FOLDS, _most_folds(source, test))
        if possible > 1:
            return possible, 0.0
    chosen = next((fraction for most, fraction in _FRACTIONS if n < most), recipe.split.validation or 0.1)
    return 0, max(chosen, recipe.split.validation)


def _most_folds(source: SequenceSource, test: float) -> int:
    """Return the number of folds that the largest class, or the groups, surely suffice for."""
    if not isinstance(source, MemorySource):  # the splits of packed data are fixed
        return 0
    largest = int(np.bincount(number_as_class(source).targets).max())
    groups = largest if source.groups is None else len(np.unique(source.groups))
    return int(min(largest, groups) * (1 - test))


def _size(recipe: Recipe, n: int) -> int:
    """Return the number of sequences that a run trains on, repetitions included."""
    train = recipe.train.limited(n)
    return train.total_steps * train.batch_size
