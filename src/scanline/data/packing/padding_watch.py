"""Whether missing values at the end of sequences are padding, decided from sequences that come in chunks."""

from __future__ import annotations

import numpy as np

from scanline.data.memory import MemorySource
from scanline.data.packing.chunks import Part
from scanline.data.padding import ends_missing, padding_question, without_padding
from scanline.errors import DataError


class PaddingWatch:
    """What the sequences so far say; they are in doubt as `scanline.data.padding.check_padding` has it."""

    def __init__(self) -> None:
        self._steps = 0  # of all sequences; -1 if they differ
        self._total, self._ends = 0, 0
        self._elsewhere = False
        self._first: tuple[str, int] | None = None  # place of the first such sequence, its missing steps

    def see(self, source: MemorySource) -> None:
        """Take sequences into account."""
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
        if self._first is None:
            first = int(np.flatnonzero(ends)[0])
            self._first = source.info.locate(first), int(source.lengths[first] - cut.lengths[first])

    @property
    def _doubtful(self) -> bool:
        return self._steps > 1 and self._ends > 0

    def note(self, part: Part) -> str:
        """Return the note about sequences that seem to end early, "" if there are none."""
        from scanline.data.padding import ends_note

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
            place, missing = self._first
            raise padding_question(part.name, place, missing, self._steps, self._ends, self._total)
