"""Splits sequences in two, by class or by group, and weighs classes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.source import Indices, SequenceSource
from scanline.errors import DataError, one_line

_SEEDS = 2**32  # number of seeds that scikit-learn accepts
_FOLDS = 20  # approximate most fractions within a few hundredths; a small fraction needs more


def hold_out(source: MemorySource, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split sequences in two.

    Sequences with groups are split by group: each group is on one side. Classes keep their proportions as
    well as possible. Sequences whose targets are numbers, or have a target at each step, are drawn at random.

    Args:
        source: Sequences with targets.
        fraction: Fraction of the sequences to hold out, 0 < fraction < 1.
        seed: Seed of the split.

    Returns:
        (rest, held out), the indices of both sides in ascending order.

    Raises:
        DataError: If a class or the groups are too few to be on both sides; names the class.
    """
    if not by_class(source) and len(source) < 2:
        raise DataError(
            f"{source.name}: expected at least 2 sequences to split, found 1; add sequences, or set "
            "split.validation and split.test to 0"
        )
    source = number_as_class(source)
    if source.groups is not None:
        return grouped(source, fraction, seed)
    return stratified(source, fraction, seed)


def by_class(source: SequenceSource) -> bool:
    """Return whether splits keep classes in proportion: each sequence has one class."""
    return source.info.one_class and source.step_targets is None


def number_as_class(source: MemorySource) -> MemorySource:
    """Return the source as if targets that are numbers, sets, or those of steps, were all of one class.

    Each number may occur once, and needs to be on no particular side of a split. A sequence with targets of
    its steps has no single class.
    """
    if by_class(source):
        return source
    return replace(source, targets=np.zeros_like(source.targets), classes=("number",), step_targets=None)


def stratified(source: MemorySource, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split in two with each class in proportion, as `hold_out`.

    Source: sklearn.model_selection.train_test_split.
    """
    from sklearn.model_selection import train_test_split

    labels = source.targets
    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        small = source.classes[int(values[counts.argmin()])]
        raise DataError(
            f"{source.name}: class {one_line(small)} has a single sequence, at least 2 are needed to "
            "split the data; add sequences of that class, remove it, or set split.validation and "
            "split.test to 0"
        )
    indices = np.arange(len(labels))
    held_out = max(round(len(labels) * fraction), len(values))
    if len(labels) - held_out < len(values):
        raise DataError(
            f"{source.name}: {len(labels)} sequences of {len(values)} classes are too few to split; "
            "add sequences, or set split.validation and split.test to 0"
        )
    drawn = train_test_split(indices, test_size=held_out, random_state=seed % _SEEDS, stratify=labels)
    # scikit-learn may leave a class of few sequences on one side.
    kept, held = _with_each_class(drawn[0], drawn[1], labels)
    held, kept = _with_each_class(held, kept, labels)
    return np.sort(kept), np.sort(held)


def _with_each_class(own: Indices, others: Indices, labels: NDArray[np.int64]) -> tuple[Indices, Indices]:
    """Move one sequence of each class that `own` lacks from `others` to `own`; return both."""
    missing = np.flatnonzero(
        (np.bincount(labels) > 0) & (np.bincount(labels[own], minlength=labels.max() + 1) == 0)
    )
    if not missing.size:
        return own, others
    moved = np.array([others[labels[others] == label][0] for label in missing], np.int64)
    return np.append(own, moved), np.setdiff1d(others, moved)


def grouped(source: MemorySource, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split in two by group, as `hold_out`. Of scikit-learn's folds those nearest in size are held out."""
    assert source.groups is not None
    groups, labels = group_codes(source.groups), source.targets
    count = int(groups.max()) + 1
    if count < 2:
        raise DataError(
            f"{source.name}: all sequences are in one group, at least 2 are needed to split by group; "
            "remove the group column, or set split.validation and split.test to 0"
        )
    classes = np.unique(labels)

    def trains_all(held: NDArray[np.bool_]) -> bool:
        return len(np.unique(labels[~held])) == len(classes)

    drawn = [held for held in _folds(groups, labels, fraction, seed) if trains_all(held)]
    # If no fold leaves every class in the rest, a single group may.
    drawn = drawn or [held for held in (groups == group for group in range(count)) if trains_all(held)]
    if not drawn:
        alone = next(label for label in classes if len(np.unique(groups[labels == label])) == 1)
        raise DataError(
            f"{source.name}: class {one_line(source.classes[alone])} is in one group only, so that "
            "groups cannot be held out; add groups with that class, remove the group column, or set "
            "split.validation and split.test to 0"
        )
    held = min(drawn, key=lambda mask: abs(mask.mean() - fraction))
    return np.flatnonzero(~held), np.flatnonzero(held)


def group_codes(groups: NDArray[Any]) -> NDArray[np.int64]:
    """Return the (N,) position of each group among the sorted names of all groups."""
    # A dictionary: np.unique would need an array of N texts of the width of the longest.
    known: dict[str, int] = {}
    codes = np.fromiter((known.setdefault(str(group), len(known)) for group in groups), np.int64, len(groups))
    names = list(known)
    ranks = np.empty(len(names), np.int64)
    ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    sorted_codes: NDArray[np.int64] = ranks[codes]
    return sorted_codes


def _folds(
    groups: NDArray[np.int64], labels: NDArray[np.int64], fraction: float, seed: int
) -> list[NDArray[np.bool_]]:
    """Masks (N,) of what may be held out: consecutive folds that are about `fraction` of all.

    Source: sklearn.model_selection.StratifiedGroupKFold.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    wanted = max(_FOLDS, round(1 / min(fraction, 1 - fraction)))
    # scikit-learn allows no more folds than there are groups, or members of the largest class.
    limit = int(min(groups.max() + 1, np.bincount(labels).max(), wanted))
    if limit < 2:
        return []
    # Approximate the fraction as numerator / denominator: hold out `numerator` of `denominator` folds.
    ratio = Fraction(fraction).limit_denominator(limit)
    ratio = min(max(ratio, Fraction(1, limit)), Fraction(limit - 1, limit))
    folds = StratifiedGroupKFold(ratio.denominator, shuffle=True, random_state=seed % _SEEDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer sequences than folds
        drawn = [held for _, held in folds.split(groups, labels, groups)]
    masks = []
    # Each rotation of the folds is a candidate; the caller picks the one nearest to the fraction.
    for first in range(len(drawn)):
        mask = np.zeros(len(groups), bool)
        for turn in range(ratio.numerator):
            mask[drawn[(first + turn) % len(drawn)]] = True
        masks.append(mask)
    return [mask for mask in masks if mask.any() and not mask.all()]


def balanced(source: SequenceSource) -> NDArray[np.float32]:
    """Return weights (N,), mean 1, with which all classes have the same total weight.

    Source: sklearn.utils.class_weight.compute_sample_weight.
    """
    from sklearn.utils.class_weight import compute_sample_weight

    weights: NDArray[np.float32] = compute_sample_weight("balanced", source.targets).astype(np.float32)
    return weights
