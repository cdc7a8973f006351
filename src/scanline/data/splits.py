"""Which sequences train, which choose, and which judge."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import shown
from scanline.data.memory import MemorySource
from scanline.data.transforms.ink import PictureFormat
from scanline.data.transforms.views import View
from scanline.errors import DataError
from scanline.recipe import DataSettings

PARTS = ("train", "validation", "test")
_SEEDS = 2**32  # how many scikit-learn knows
_FOLDS = 20  # meet any share to a few hundredths; a smaller one needs more
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a part comes from: `how` in words, and which sequences of the source it is; None: all of it."""

    how: str
    indices: Indices | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """A set of sequences in parts that share no sequence.

    name: from the catalog, or the last part of the path. path: None for a set of the catalog.
    train: what the weights are fitted on. validation: what choices are made on, or None. test: read at the
    end, or None.
    scale: the largest value that the data can have, 255 for bytes, or 1 where there is none.
    picture: how a picture file becomes one of these sequences, or None if they are not pictures.
    view: how pictures were cut into steps, once they are, or None.
    settings: how a source was read, with what was guessed filled in; None for a set of the catalog.
    origins: of each part. notes: what the user should know of how it was read.
    """

    name: str
    train: MemorySource
    validation: MemorySource | None
    test: MemorySource | None
    scale: float = 1.0
    picture: PictureFormat | None = None
    view: View | None = None
    path: Path | None = None
    settings: DataSettings | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """What finds these data again from any folder: the catalog's name, an absolute path, or "" for arrays
        of a program."""
        if self.path is not None:
            return str(self.path.resolve())
        return "" if self.settings is not None else self.name

    @property
    def title(self) -> str:
        """What to call these data where no folder of this machine should be named."""
        if self.path is None:
            return self.name if self.settings is None else f"the {self.name} of a program"
        kind = "file" if self.path.is_file() else "folder" if self.path.is_dir() else "files"
        return f"the {kind} {self.name}"

    @property
    def parts(self) -> dict[str, MemorySource]:
        """Those that there are, by name."""
        own = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in own.items() if part is not None}

    def describe_split(self) -> dict[str, Any]:
        """What `split.json` holds: where each part comes from, its counts, and which sequences it is."""
        return {name: _describe(part, self.origins.get(name)) for name, part in self.parts.items()}


def _describe(part: MemorySource, origin: Origin | None) -> dict[str, Any]:
    counts = np.bincount(part.targets, minlength=len(part.classes))
    told: dict[str, Any] = {
        "n": len(part),
        "from": origin.how if origin else part.name,
        "classes": {str(name): int(count) for name, count in zip(part.classes, counts, strict=True)},
    }
    if part.groups is not None:
        told["groups"] = sorted({str(group) for group in part.groups})
    if origin is not None and origin.indices is not None:
        told["sequences"] = origin.indices.tolist()
    if part.ids is not None:
        told["ids"] = [str(name) for name in part.ids]
    return told


def hold_out(sequences: MemorySource, share: float, seed: int) -> tuple[Indices, Indices]:
    """Indices of (the rest, the part held out), both ascending.

    share: of the sequences, how many are held out, 0 < share < 1. Sequences with groups are split by group,
    each group on one side; in both cases the classes keep their proportions as well as can be.
    Raises DataError naming a class or groups too few to stand on both sides.
    """
    if sequences.groups is not None:
        return grouped(sequences, share, seed)
    return stratified(sequences, share, seed)


def stratified(sequences: MemorySource, share: float, seed: int) -> tuple[Indices, Indices]:
    """As `hold_out`, each class in proportion. scikit-learn draws."""
    from sklearn.model_selection import train_test_split

    labels = sequences.targets
    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        small = sequences.classes[int(values[counts.argmin()])]
        raise DataError(
            f"{sequences.name}: class {shown(small)} has a single sequence: at least 2 are needed to split "
            "off a part; give more of that class, leave it out, or set split.validation and split.test to 0"
        )
    indices = np.arange(len(labels))
    held_out = max(round(len(labels) * share), len(values))
    if len(labels) - held_out < len(values):
        raise DataError(
            f"{sequences.name}: {len(labels)} sequences of {len(values)} classes are too few to split off "
            "a part; give more, or set split.validation and split.test to 0"
        )
    drawn = train_test_split(indices, test_size=held_out, random_state=seed % _SEEDS, stratify=labels)
    # scikit-learn may leave a class of few sequences on one side.
    kept, held = _with_each_class(drawn[0], drawn[1], labels)
    held, kept = _with_each_class(held, kept, labels)
    return np.sort(kept), np.sort(held)


def _with_each_class(own: Indices, others: Indices, labels: NDArray[np.int64]) -> tuple[Indices, Indices]:
    """Both after one sequence of each class that `own` lacks has come over from `others`."""
    lacking = np.setdiff1d(labels, labels[own])
    moved = np.array([others[labels[others] == label][0] for label in lacking], np.int64)
    return np.append(own, moved), np.setdiff1d(others, moved)


def grouped(sequences: MemorySource, share: float, seed: int) -> tuple[Indices, Indices]:
    """As `hold_out`, each group on one side. scikit-learn draws folds; those nearest in size are held out."""
    assert sequences.groups is not None
    _, groups = np.unique(sequences.groups.astype(str), return_inverse=True)
    groups, labels = groups.reshape(-1), sequences.targets
    count = int(groups.max()) + 1
    if count < 2:
        raise DataError(
            f"{sequences.name}: all sequences belong to one group: at least 2 are needed to split off a "
            "part by group; leave the group column out, or set split.validation and split.test to 0"
        )
    classes = np.unique(labels)

    def trains_all(held: NDArray[np.bool_]) -> bool:
        return len(np.unique(labels[~held])) == len(classes)

    drawn = [held for held in _folds(groups, labels, share, seed) if trains_all(held)]
    # Where no fold will do, a single group may.
    drawn = drawn or [held for held in (groups == group for group in range(count)) if trains_all(held)]
    if not drawn:
        alone = next(label for label in classes if len(np.unique(groups[labels == label])) == 1)
        raise DataError(
            f"{sequences.name}: class {shown(sequences.classes[alone])} stands in one group alone, so "
            "groups cannot be held out; give more groups of it, leave the group column out, or set "
            "split.validation and split.test to 0"
        )
    held = min(drawn, key=lambda mask: abs(mask.mean() - share))
    return np.flatnonzero(~held), np.flatnonzero(held)


def _folds(
    groups: NDArray[np.int64], labels: NDArray[np.int64], share: float, seed: int
) -> list[NDArray[np.bool_]]:
    """Masks (N,) of what may be held out: some of scikit-learn's folds, together about `share` of all."""
    from sklearn.model_selection import StratifiedGroupKFold

    fine = max(_FOLDS, round(1 / min(share, 1 - share)))
    most = int(min(groups.max() + 1, np.bincount(labels).max(), fine))
    if most < 2:
        return []
    part = Fraction(share).limit_denominator(most)
    part = min(max(part, Fraction(1, most)), Fraction(most - 1, most))
    folds = StratifiedGroupKFold(part.denominator, shuffle=True, random_state=seed % _SEEDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer sequences than folds
        drawn = [held for _, held in folds.split(groups, labels, groups)]
    masks = []
    for first in range(len(drawn)):
        mask = np.zeros(len(groups), bool)
        for turn in range(part.numerator):
            mask[drawn[(first + turn) % len(drawn)]] = True
        masks.append(mask)
    return [mask for mask in masks if mask.any() and not mask.all()]


def balanced(sequences: MemorySource) -> NDArray[np.float32]:
    """(N,) weights by which each class counts as much as the others, mean 1. Source: scikit-learn's."""
    from sklearn.utils.class_weight import compute_sample_weight

    weights: NDArray[np.float32] = compute_sample_weight("balanced", sequences.targets).astype(np.float32)
    return weights
