"""Watches the features of a long table for columns that count its rows or hold the length of a sequence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.data.readers.bookkeeping import ColumnFacts
from scanline.data.readers.step_columns import is_counter_name

# A float32 has 2**24 whole numbers in a row: a column of more rows repeats some.
_MOST_DISTINCT = 2**25


class ColumnWatch:
    """What the rows so far say about each feature.

    Args:
        features: Names of the features.
    """

    def __init__(self, features: tuple[str, ...]) -> None:
        self._rows = 0
        self._first = np.zeros(len(features), np.float32)
        self._counting = np.ones(len(features), bool)
        self._whole: dict[int, list[NDArray[np.float32]] | None] = {
            index: [] for index, name in enumerate(features) if is_counter_name(name)
        }
        self._length_of: NDArray[np.bool_] | None = None  # of the features that are kept
        self._lengths: set[int] = set()

    def see(self, values: NDArray[np.float32], first: int) -> None:
        """Take (R, F) values of rows from the row `first` on into account, in the order of the file."""
        if not len(values):
            return
        if not self._rows:
            self._first = values[0].copy()
            self._counting = np.isin(self._first, (0, 1))
        for index in np.flatnonzero(self._counting).tolist():
            expected = self._first[index] + np.arange(first, first + len(values)).astype(np.float32)
            self._counting[index] = bool((values[:, index] == expected).all())
        for index, kept in self._whole.items():
            if kept is None:
                continue
            column = values[:, index]
            if not (np.trunc(column) == column).all() or self._rows + len(values) > _MOST_DISTINCT:
                self._whole[index] = None
            else:
                kept.append(column.copy())
        self._rows += len(values)

    @property
    def may_count(self) -> bool:
        """Whether a feature may still turn out to count the rows."""
        return bool(self._counting.any()) or any(kept is not None for kept in self._whole.values())

    def facts(self, index: int) -> ColumnFacts:
        """Return what is known about a feature."""

        def distinct() -> bool:
            kept = self._whole.get(index)
            return bool(kept) and len(np.unique(np.concatenate(kept or []))) == self._rows

        return ColumnFacts(bool(self._counting[index]), self._first[index].item(), self._rows, distinct)

    def see_sequences(self, values: NDArray[np.float32], lengths: NDArray[np.int64]) -> None:
        """Take the (S, F) values of whole sequences into account."""
        if self._length_of is None:
            self._length_of = np.ones(values.shape[1], bool)
        if self._length_of.any():
            own = np.repeat(lengths, lengths)[:, None]
            self._length_of &= (values == own).all(0)
            self._lengths.update(np.unique(lengths).tolist()[:2])

    def length_features(self) -> list[int]:
        """Return the features, of those kept, that are the number of steps of their sequence in every row."""
        if self._length_of is None or len(self._lengths) < 2:
            return []
        return np.flatnonzero(self._length_of).tolist()
