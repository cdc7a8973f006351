"""Whole sequences on their way from a reader to the stage, and what is known about all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.source import ClassName
from scanline.data.source_info import SourceInfo
from scanline.recipe import DataSettings

Place = Callable[[int], str]


@dataclass(frozen=True, eq=False)
class Chunk:
    """n whole sequences of one part.

    Attributes:
        source: The sequences, with identifiers; targets and groups are below.
        numbers: (n,) int64 what orders the sequences in the source, different for each.
        labels: (n,) codes of the labels among those of the part.
        groups: (n,) codes of the groups; None if there are none.
        splits: (n,) index of the split in `SPLITS` that the source assigns each sequence to; None: it assigns
            none.
    """

    source: MemorySource
    numbers: NDArray[np.int64]
    labels: NDArray[np.int32]
    groups: NDArray[np.int32] | None = None
    splits: NDArray[np.int8] | None = None


@dataclass(eq=False)
class Part:
    """Sequences that share their labels: those of one split of the source, or all of them.

    Attributes:
        split: "train", "validation", "test" or "all".
        name: Where the sequences come from, for messages.
        info: How they were read: settings, names of features, picture format, full scale.
        features: F, the number of values of a step.
        dtype: Type of the values.
        classes: The K classes of the sequences, or distinct numbers; set at the end.
        codes: Index of the class of each label code; set at the end.
        notes: What was inferred or repaired, for the user.
        assigned: Whether the source assigns each sequence to a split.
        places: (number of the first sequence, what names the place of a number), ascending.
        count: Number of sequences.
    """

    split: str
    name: str
    info: SourceInfo
    features: int
    dtype: np.dtype[Any]
    classes: tuple[ClassName, ...] = ()
    codes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    notes: list[str] = field(default_factory=list)
    assigned: bool = False
    places: list[tuple[int, Place]] = field(default_factory=list)
    count: int = 0

    @property
    def settings(self) -> DataSettings | None:
        """How the sequences were read, with what was inferred."""
        return self.info.settings

    @property
    def picture(self) -> PictureFormat | None:
        """How a picture file becomes such a sequence."""
        return self.info.picture

    def place(self, number: int) -> str:
        """Return the place of the sequence of a number in its file."""
        first, place = next(
            ((first, place) for first, place in reversed(self.places) if first <= number),
            (0, lambda index: f"sequence {index}"),
        )
        return place(number - first)
