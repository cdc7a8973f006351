"""What a reader knows about the sequences that it read, besides the sequences themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scanline.data.intervals import Intervals
from scanline.data.picture_format import PictureFormat
from scanline.data.time_features import TimeKind
from scanline.recipe import DataSettings


class Locate(Protocol):
    """Names the place of a sequence, or of one of its steps, in its file: "line 12"."""

    def __call__(self, index: int, step: int = 0, /) -> str:
        """Return the place of the step `step` of the sequence at `index`."""
        ...


def by_number(index: int, step: int = 0, /) -> str:
    """Name a sequence by its index."""
    return f"sequence {index}"


@dataclass(frozen=True, eq=False)
class SourceInfo:
    """How and from where sequences were read.

    Attributes:
        settings: The data settings, with what was inferred filled in; None for a data set of the catalogue.
        locate: Names the place of a sequence or step in its file, for messages.
        feature_names: Names of the F values of a step, or of the steps if each has one value; empty: none.
        assigned_splits: (N,) "train", "validation" or "test", if the file assigns sequences to splits.
        notes: What was inferred or repaired, for the user.
        full_scale: The largest value that the data can have: 255 for bytes, 1 if there is none.
        picture: How a picture file becomes such a sequence; None if the sequences are not pictures.
        sample_rate: Samples a second of recordings; 0 if the sequences are not recordings.
        categories: For each of the F features the names of its categories, of which the values are indices,
            or None if it is a number; "" is the name of a missing value. Empty: all features are numbers.
        static: Indices of the features with one value for a whole sequence.
        time_kind: What the times are that features were computed of, see `data.time_features`; "" if none
            were.
        intervals: Intervals between steps in what was read, also if this is a part of it; None if there are
            no times.
    """

    settings: DataSettings | None = None
    locate: Locate = by_number
    feature_names: tuple[str, ...] = ()
    assigned_splits: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    full_scale: float = 1.0
    picture: PictureFormat | None = None
    sample_rate: int = 0
    categories: tuple[tuple[str, ...] | None, ...] = ()
    static: tuple[int, ...] = ()
    time_kind: TimeKind = ""
    intervals: Intervals | None = None

    @property
    def numeric_targets(self) -> bool:
        """Whether targets are numbers, each of which stands for itself, rather than classes."""
        return self.settings is not None and self.settings.targets in ("numbers", "step-numbers")

    @property
    def one_class(self) -> bool:
        """Whether a target is one class of those that `SequenceSource.classes` names."""
        sets = self.settings is not None and self.settings.targets == "label-sets"
        return not sets and not self.numeric_targets

    def take(self, indices: NDArray[np.int64]) -> SourceInfo:
        """Return the information about the sequences at `indices`."""
        locate, splits = self.locate, self.assigned_splits

        # Composes with earlier `take`s, so that a message still names the place in the original file.
        def locate_taken(index: int, step: int = 0, /) -> str:
            return locate(int(indices[index]), step)

        return replace(self, locate=locate_taken, assigned_splits=None if splits is None else splits[indices])


NO_INFO = SourceInfo()  # of sequences that were not read from anywhere
