"""Whether identifiers of any number of sequences are all different, in a few bytes for each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from scanline.formats.text import appearance


class Identifiers:
    """A hash of what each identifier looks like, so that equal ones and look-alikes are noticed."""

    def __init__(self) -> None:
        self._sorted = np.zeros(0, np.int64)
        self._new: list[NDArray[np.int64]] = []
        self._waiting = 0

    def add(self, texts: list[str]) -> None:
        """Take identifiers into account."""
        self._new.append(np.fromiter((hash(appearance(text)) for text in texts), np.int64, len(texts)))
        self._waiting += len(texts)

    def join(self, other: Identifiers) -> None:
        """Take all identifiers of another part into account."""
        self._new += [other._sorted, *other._new]
        self._waiting += len(other._sorted) + other._waiting

    def repeated(self, at_once: bool = True) -> NDArray[np.int64]:
        """Return the hashes that occur more than once.

        Args:
            at_once: Whether to look now; otherwise only if there are many new ones since the last time.
        """
        if self._waiting and (at_once or self._waiting > len(self._sorted) // 2 + 2**16):
            self._sorted = np.sort(np.concatenate([self._sorted, *self._new]))
            self._new, self._waiting = [], 0
        same: NDArray[np.int64] = self._sorted[1:][self._sorted[1:] == self._sorted[:-1]]
        return np.unique(same)


def find_pair(
    hashes: NDArray[np.int64], texts: Iterable[tuple[str, int]]
) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return two identifiers that are equal or look alike, each with its number, in order of the numbers.

    Args:
        hashes: What `Identifiers.repeated` returned, at least one.
        texts: (identifier, number) of all sequences.

    Raises:
        LookupError: If there are no such two: two different identifiers have the same hash.
    """
    wanted = set(hashes.tolist())
    seen: dict[str, tuple[str, int]] = {}
    for text, number in texts:
        look = appearance(text)
        if hash(look) in wanted:
            first = seen.setdefault(look, (text, number))
            if first[1] != number:
                one, other = sorted([first, (text, number)], key=lambda each: each[1])
                return one, other
    raise LookupError
