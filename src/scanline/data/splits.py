"""Which sequences train, which choose, and which judge."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.prepare import PictureFormat
from scanline.data.sequences import Sequences
from scanline.data.views import View
from scanline.errors import DataError
from scanline.recipe import DataSettings

PARTS = ("train", "validation", "test")
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a part comes from: `how` in words, and which sequences of the source it is; None: all of it."""

    how: str
    indices: Indices | None = None


@dataclass(frozen=True, eq=False)
class DataSet:
    """A set of sequences in parts that share no sequence.

    name: from the catalog, or the last part of the path. path: None for a set of the catalog.
    train: what the weights are fitted on. validation: what choices are made on, or None. test: read at the
    end, or None.
    scale: the largest value that the data can have, 255 for bytes, or 1 where there is none.
    picture: how a picture file becomes one of these sequences, or None if they are not pictures.
    view: how pictures were cut into steps, once they are, or None.
    settings: how a source was read, with what was guessed filled in; None for a set of the catalog.
    origins: of each part. notes: what the user should know of how it was read.
    weights: (N,) of the training sequences in the loss, mean 1; None: all count 1.
    """

    name: str
    train: Sequences
    validation: Sequences | None
    test: Sequences | None
    scale: float = 1.0
    picture: PictureFormat | None = None
    view: View | None = None
    path: Path | None = None
    settings: DataSettings | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    weights: NDArray[np.float32] | None = None

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
    def parts(self) -> dict[str, Sequences]:
        """Those that there are, by name."""
        own = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in own.items() if part is not None}

    def describe_split(self) -> dict[str, Any]:
        """What `split.json` holds: where each part comes from, its counts, and which sequences it is."""
        return {name: _describe(part, self.origins.get(name)) for name, part in self.parts.items()}


def _describe(part: Sequences, origin: Origin | None) -> dict[str, Any]:
    counts = np.bincount(part.labels, minlength=len(part.classes))
    told: dict[str, Any] = {
        "n": len(part),
        "from": origin.how if origin else part.source,
        "classes": {str(name): int(count) for name, count in zip(part.classes, counts, strict=True)},
    }
    if part.groups is not None:
        told["groups"] = sorted({str(group) for group in part.groups})
    if origin is not None and origin.indices is not None:
        told["sequences"] = origin.indices.tolist()
    if part.ids is not None:
        told["ids"] = [str(name) for name in part.ids]
    return told


def hold_out(sequences: Sequences, share: float, seed: int) -> tuple[Indices, Indices]:
    """Indices of (the rest, the part held out), both ascending.

    share: of the sequences, how many are held out, 0 < share < 1. Sequences with groups are split by group,
    each group on one side; in both cases the classes keep their proportions as well as can be.
    Raises DataError naming a class or groups too few to stand on both sides.
    """
    if sequences.groups is not None:
        return grouped(sequences, share, seed)
    return stratified(sequences, share, seed)


def stratified(sequences: Sequences, share: float, seed: int) -> tuple[Indices, Indices]:
    """As `hold_out`, each class in proportion. scikit-learn draws."""
    from sklearn.model_selection import train_test_split

    labels = sequences.labels
    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        small = sequences.classes[int(values[counts.argmin()])]
        raise DataError(
            f"{sequences.source}: class {small} has a single sequence: at least 2 are needed to split off a "
            "part; give more of that class, leave it out, or set split.validation and split.test to 0"
        )
    indices = np.arange(len(labels))
    held_out = max(round(len(labels) * share), len(values))
    if len(labels) - held_out < len(values):
        raise DataError(
            f"{sequences.source}: {len(labels)} sequences of {len(values)} classes are too few to split off "
            "a part; give more, or set split.validation and split.test to 0"
        )
    kept, held = train_test_split(indices, test_size=held_out, random_state=seed, stratify=labels)
    return np.sort(kept), np.sort(held)


def grouped(sequences: Sequences, share: float, seed: int) -> tuple[Indices, Indices]:
    """As `hold_out`, each group on one side. Of scikit-learn's folds the one nearest in size is held out."""
    from sklearn.model_selection import StratifiedGroupKFold

    assert sequences.groups is not None
    _, groups = np.unique(sequences.groups.astype(str), return_inverse=True)
    groups, labels = groups.reshape(-1), sequences.labels
    count = int(groups.max()) + 1
    if count < 2:
        raise DataError(
            f"{sequences.source}: all sequences belong to one group: at least 2 are needed to split off a "
            "part by group; leave the group column out, or set split.validation and split.test to 0"
        )
    folds = StratifiedGroupKFold(min(max(2, round(1 / share)), count), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer sequences than folds
        drawn = [
            (kept, held) for kept, held in folds.split(groups, labels, groups) if len(held) and len(kept)
        ]
    classes = np.unique(labels)
    whole = [pair for pair in drawn if len(np.unique(labels[pair[0]])) == len(classes)]
    if not whole:
        where = {label: np.unique(groups[labels == label]) for label in classes}
        lonely = [sequences.classes[label] for label, own in where.items() if len(own) == 1]
        reason = (
            f"class {lonely[0]} stands in one group alone" if lonely else "some class would not be trained"
        )
        raise DataError(
            f"{sequences.source}: {reason}, so groups cannot be held out; give more groups of it, leave the "
            "group column out, or set split.validation and split.test to 0"
        )
    kept, held = min(whole, key=lambda pair: abs(len(pair[1]) - share * len(labels)))
    return np.sort(kept), np.sort(held)


def balanced(sequences: Sequences) -> NDArray[np.float32]:
    """(N,) weights by which each class counts as much as the others, mean 1. Source: scikit-learn's."""
    from sklearn.utils.class_weight import compute_sample_weight

    weights: NDArray[np.float32] = compute_sample_weight("balanced", sequences.labels).astype(np.float32)
    return weights
