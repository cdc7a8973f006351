"""The features of the times of a stream, whose steps arrive one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from scanline.data.readers.row_times import TimeColumn, TimeFault
from scanline.data.time_features import TimeKind, compute
from scanline.errors import DataError, MissingExtraError, one_line
from scanline.recipe import DataSettings

_START = np.zeros(1, np.int64)


class StreamTimes:
    """Computes the features of the time of each step of one sequence, as the readers of tables do.

    Args:
        settings: Format and features of the times.
        kind: What the times of the training data are.
    """

    def __init__(self, settings: DataSettings, kind: TimeKind) -> None:
        self._features, self._kind, self._last = settings.time_features, kind, None
        self._column = TimeColumn(settings.time_format)

    def restart(self) -> None:
        """Begin another sequence."""
        self._last = None

    def features(self, cell: Any) -> list[float]:
        """Return the features of the next step.

        Args:
            cell: Its time, a number or text.

        Raises:
            DataError: If it is no time, one of another kind than in training, or not after the last one.
            MissingExtraError: If PyArrow is not installed.
        """
        try:
            import pyarrow
        except ImportError:
            raise MissingExtraError("reading times", ["pyarrow"], "tables") from None
        text = "" if cell is None else str(cell).strip()
        if not text:
            raise DataError("the time: expected a value, found none")
        try:
            (time,) = self._column.convert(pyarrow.array([text])).tolist()
        except TimeFault as fault:
            raise DataError(f"the time: {fault}") from None
        unit, last = self._column.unit, self._last
        if unit.kind != self._kind:
            raise DataError(where="the time", expected=f"{self._kind}, as in training", found=unit.kind)
        # A time of day that goes back is over midnight.
        if last is not None and (time == last or (time < last and unit.kind != "times of day")):
            raise DataError(where="the time", expected="one after the last", found=repr(one_line(text, 40)))
        self._last = time
        times = np.array([time] if last is None else [last, time])
        row: list[float] = compute(self._features, times, _START, unit)[-1].tolist()
        return row
