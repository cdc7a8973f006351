"""The times of the rows of a table as numbers that can be sorted, without a loss of digits."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.time_features import PLAIN, TimeKind, TimeUnit
from scanline.formats.times import DAY_MICROSECONDS, REMEDY, is_clock, parse_time

_DAY_SECONDS = 86_400
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EXPECTED = "a number, a time of day or a date as 2026-01-31 12:00:00"


class TimeFault(Exception):
    """A cell is not a time.

    Attributes:
        row: Its row in the batch.
        expected: What was expected.
        found: The cell.
        remedy: What to do.
    """

    def __init__(self, row: int, expected: str, found: str, remedy: str) -> None:
        super().__init__(f"expected {expected}, found {found!r}; {remedy}")
        self.row, self.expected, self.found, self.remedy = row, expected, found, remedy


class TimeColumn:
    """Converts a column of times batch by batch.

    Args:
        time_format: Format of times in text, see `scanline.formats.times`; empty: numbers or ISO 8601.

    Attributes:
        day: Length of a day in the unit of the numbers, if they are times of day; otherwise 0.
        unit: What the numbers are; known after the first batch.
    """

    def __init__(self, time_format: str) -> None:
        self.day, self.unit = 0, TimeUnit()
        self._format, self._kind = time_format, None

    def convert(self, column: Any) -> NDArray[Any]:
        """Return the (R,) times of a batch as numbers; a missing one is NaN.

        Raises:
            TimeFault: If a cell is not a time.
        """
        from pyarrow import types

        kind = column.type
        value = kind.value_type if types.is_dictionary(kind) else kind
        if self._format and not types.is_temporal(value):
            return self._formatted(column)
        if _is_text(value):
            return self._text(column)
        return self._numbers(column.dictionary_decode() if types.is_dictionary(kind) else column)

    def _numbers(self, column: Any) -> NDArray[Any]:
        import pyarrow
        from pyarrow import types

        kind = column.type
        self.unit = _unit(kind)
        if types.is_time(kind):
            self.day = _DAY_SECONDS * _PER_SECOND[kind.unit]
        if types.is_date32(kind) or types.is_time32(kind):
            column = column.cast(pyarrow.int32())
        elif types.is_temporal(kind):
            column = column.cast(pyarrow.int64())
        elif not types.is_integer(kind) and not types.is_floating(kind):
            column = column.cast(pyarrow.float64())
        numbers: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return numbers

    def _formatted(self, column: Any) -> NDArray[Any]:
        """Parse the different texts of a column once each."""
        clock = is_clock(self._format)
        self.unit = TimeUnit("times of day" if clock else "dates", Fraction(1, 10**6))
        if clock:
            self.day = DAY_MICROSECONDS
        codes, texts = _encoded(column)
        parsed = np.empty(len(texts), np.int64)
        for index, text in enumerate(texts):
            try:
                parsed[index] = parse_time(text, self._format)
            except (ValueError, OverflowError):
                row = int(np.flatnonzero(codes == index)[0])
                expected = f"a time written as {self._format}"
                raise TimeFault(row, expected, text[:60], "change it, or --time-format") from None
        return _looked_up(parsed, codes)

    def _text(self, column: Any) -> NDArray[Any]:
        """Convert text as the cells of a CSV file: numbers, times of day or dates by the first cell."""
        import pyarrow

        codes, texts = _encoded(column)
        if not texts:
            return np.full(len(codes), np.nan)
        if self._kind is None:
            self._kind = next((kind for kind in _kinds() if _fits(texts[0], kind)), pyarrow.int64())
        kinds = [self._kind]
        # Integers stay exact; a fraction after them makes all of them floats.
        if self._kind == pyarrow.int64():
            kinds.append(pyarrow.float64())
        for kind in kinds:
            try:
                return _looked_up(self._numbers(_parsed(texts, kind)), codes)
            except pyarrow.ArrowInvalid:
                continue
        wrong = next(at for at, text in enumerate(texts) if not any(_fits(text, kind) for kind in kinds))
        raise TimeFault(int(np.flatnonzero(codes == wrong)[0]), _EXPECTED, texts[wrong][:60], REMEDY)


def _unit(kind: Any) -> TimeUnit:
    """Return what the numbers are that stand for times of an Arrow type."""
    from pyarrow import types

    if types.is_date(kind):
        return TimeUnit("dates", Fraction(_DAY_SECONDS) if types.is_date32(kind) else Fraction(1, 10**3))
    name: TimeKind = "numbers"
    if types.is_time(kind):
        name = "times of day"
    elif types.is_timestamp(kind):
        name = "dates"
    elif types.is_duration(kind):
        name = "durations"
    return PLAIN if name == "numbers" else TimeUnit(name, Fraction(1, _PER_SECOND[kind.unit]))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _encoded(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Return (R,) codes, -1 for a missing one, and the texts that they stand for, as far as they occur."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = column.cast(pyarrow.string()).dictionary_encode()
    codes = column.indices.cast(pyarrow.int64()).fill_null(-1).to_numpy()
    return codes, column.dictionary.to_pylist()


def _looked_up(values: NDArray[Any], codes: NDArray[np.int64]) -> NDArray[Any]:
    if (codes < 0).any():
        values = np.append(values.astype(np.float64), np.nan)
    looked_up: NDArray[Any] = values[codes]
    return looked_up


def _kinds() -> tuple[Any, ...]:
    """Return the Arrow types of times in text, in the order in which they are tried."""
    import pyarrow

    return (
        *(pyarrow.int64(), pyarrow.float64(), pyarrow.time64("ns")),
        *(pyarrow.timestamp("ns"), pyarrow.timestamp("ns", "UTC")),
    )


def _parsed(texts: list[str], kind: Any) -> Any:
    """Parse texts as the cells of a CSV file, so that both formats have the same rules."""
    from pyarrow import csv as arrow

    lines = "\n".join('"' + text.replace('"', '""') + '"' for text in texts) + "\n"
    return (
        arrow.read_csv(
            io.BytesIO(lines.encode()),
            arrow.ReadOptions(column_names=["time"], use_threads=False),
            arrow.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            arrow.ConvertOptions(column_types={"time": kind}),
        )
        .column(0)
        .combine_chunks()
    )


def _fits(text: str, kind: Any) -> bool:
    import pyarrow

    try:
        _parsed([text], kind)
    except pyarrow.ArrowInvalid:
        return False
    return True
