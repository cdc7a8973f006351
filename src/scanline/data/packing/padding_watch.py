"""Whether missing values at the end of sequences are padding, decided from sequences that come in chunks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.packing.chunks import Part
from scanline.data.padding import ends_missing, ends_note, padding_question, without_padding
from scanline.errors import DataError


class PaddingWatch:
    """What the sequences so far say; they are in doubt as `scanline.data.padding.check_padding` has it."""

    def __init__(self) -> None:
        self._steps = 0  # of all sequences; -1 if they differ
        self._total, self._ends = 0, 0
        self._elsewhere = False
        # Number of the first such sequence, its place, and how many of its steps are missing.
        self._first: tuple[int, str, int] | None = None

    def see(self, source: MemorySource, numbers: NDArray[np.int64]) -> None:
        """Take sequences and their (n,) numbers into account."""
        self._total += len(source)
        steps = source.max_length if source.uniform else -1
        self._steps = steps if self._steps in (0, steps) else -1
        if self._steps < 2 or source.dtype == np.uint8:
            return
        ends = ends_missing(source)
        self._ends += int(ends.sum())
        if self._elsewhere or not np.isnan(source.concatenated).any():
            return
        if not ends.any():
            self._elsewhere = True
            return
        try:
            cut = without_padding(source, "nan")
        except DataError:  # a whole sequence is missing: that is no padding
            self._elsewhere = True
            return
        self._elsewhere = bool(np.isnan(cut.concatenated).any())
        places = np.flatnonzero(ends)
        first = int(places[numbers[places].argmin()])
        if self._first is None or numbers[first] < self._first[0]:
            missing = int(source.lengths[first] - cut.lengths[first])
            self._first = int(numbers[first]), source.info.locate(first), missing

    @property
    def _doubtful(self) -> bool:
        return self._steps > 1 and self._ends > 0

    def note(self, part: Part) -> str:
        """Return the note about sequences that seem to end early, "" if there are none."""
        settings = part.settings
        if settings is None or settings.pad_value or not self._doubtful:
            return ""
        return ends_note(part.name, self._ends, self._total)

    def check(self, part: Part) -> None:
        """Raise UsageError if it is in doubt whether sequences end early."""
        settings = part.settings
        if settings is None or settings.pad_value or not self._doubtful or self._elsewhere:
            return
        if self._first is not None:
            _, place, missing = self._first
            raise padding_question(part.name, place, missing, self._steps, self._ends, self._total)
