"""Which sequences train, which choose, and which judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.data.prepare import PictureFormat
from scanline.data.sequences import Sequences
from scanline.errors import DataError


@dataclass(frozen=True, eq=False)
class DataSet:
    """A set of sequences in three parts that share no sequence.

    name: from the catalog, or the last part of the folder's path. folder: None for a set of the catalog.
    train: what the weights are fitted on. validation: what choices are made on. test: read at the end.
    scale: raw values are divided by it before the network sees them (255 for bytes).
    picture: how a picture file becomes one of these sequences, or None if they are not pictures.
    """

    name: str
    train: Sequences
    validation: Sequences
    test: Sequences
    scale: float = 1.0
    picture: PictureFormat | None = None
    folder: Path | None = None

    @property
    def address(self) -> str:
        """What finds these data again from any folder: the catalog's name, or an absolute path."""
        return self.name if self.folder is None else str(self.folder.resolve())


def stratified(sequences: Sequences, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of (the rest, the part held out), both ascending, each class in proportion.

    share: of each class, how much is held out, 0 < share < 1. scikit-learn draws.
    Raises DataError naming a class that is too small to stand on both sides.
    """
    from sklearn.model_selection import train_test_split

    labels = sequences.labels
    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        small = sequences.classes[int(values[counts.argmin()])]
        raise DataError(f"class {small} has a single sequence: at least 2 are needed to split off a part")
    indices = np.arange(len(labels))
    held_out = max(round(len(labels) * share), len(values))
    kept, held = train_test_split(indices, test_size=held_out, random_state=seed, stratify=labels)
    return np.sort(kept), np.sort(held)
