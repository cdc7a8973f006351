"""From rows of a packed data set to sequences in memory; rows that hold no valid sequence get an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.checks import check_values, to_float32
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError, UsageError
from scanline.limits import exceeded, limit_of
from scanline.scoring.columns import require_pyarrow

if TYPE_CHECKING:
    import pyarrow

COLUMNS = ("id", "length", "steps")


@dataclass(frozen=True, eq=False)
class Rows:
    """The columns of N rows that scoring reads.

    Attributes:
        ids: N identifiers; None where there is none.
        lengths: (N,) number of steps that each row declares; 0 where there is none.
        counts: (N,) number of values of each row.
        values: The values of all rows, one row after another; uint8 or float32.
    """

    ids: Sequence[str | None]
    lengths: NDArray[np.int64]
    counts: NDArray[np.int64]
    values: NDArray[Any]

    @classmethod
    def of(cls, table: pyarrow.Table | pyarrow.RecordBatch) -> Rows:
        """Return the rows of an Arrow table with the columns id, length and steps.

        Raises:
            DataError: If a column is missing or of a wrong type; names it.
        """
        pa = require_pyarrow()
        missing = [name for name in COLUMNS if table.schema.names.count(name) != 1]
        if missing:
            raise DataError(
                f"expected the columns id, length and steps of a packed data set, "
                f"found {', '.join(table.schema.names)}"
            )
        steps = _one_chunk(table.column("steps"))
        if not isinstance(steps, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
            raise DataError(f"column steps: expected lists of numbers, found {steps.type}")
        try:
            named = _one_chunk(table.column("id")).cast(pa.string())
            named.validate(full=True)  # Arrow does not check text when it is read
            ids = named.to_pylist()
            lengths = _one_chunk(table.column("length")).cast(pa.int64()).fill_null(0)
        except pa.ArrowInvalid as error:
            raise DataError(f"columns id and length: expected text and integers, found {error}") from None
        counts = steps.value_lengths().fill_null(0)
        return cls(ids, _numpy(lengths), _numpy(counts).astype(np.int64), _values(steps))

    def faults(self, preprocessing: Preprocessing) -> dict[int, str]:
        """Return what is wrong with the shape of rows, by row; see `widths` for what is right."""
        most, widths = limit_of("STEPS"), widths_of(preprocessing)
        height = preprocessing.picture.height if preprocessing.picture else None
        fits = np.isin(self.counts, 0, invert=True) & (self.lengths >= 1) & (self.lengths <= most)
        fits &= np.any([self.counts == self.lengths * width for width in widths], axis=0)
        if height is not None:
            fits &= self.lengths == height
        return {int(row): self._fault(int(row), widths, height) for row in np.flatnonzero(~fits)}

    def _fault(self, row: int, widths: tuple[int, ...], height: int | None) -> str:
        length, count = int(self.lengths[row]), int(self.counts[row])
        features = " or ".join(f"{width:,}" for width in widths)
        if count == 0:
            return "expected steps, found none"
        if length < 1:
            return f"expected a length of at least 1, found {length}"
        if length > limit_of("STEPS"):
            return exceeded("STEPS", length)
        if count % length:
            return f"expected {length:,} steps of equal size, found {count:,} values"
        if count // length not in widths:
            found = f"{count // length:,} ({count:,} in {length:,} steps)"
            return f"expected {features} values a step, found {found}"
        return f"expected a picture of {height} rows, found {length:,}"

    def sources(
        self, rows: NDArray[np.int64], preprocessing: Preprocessing
    ) -> list[tuple[NDArray[np.int64], MemorySource]]:
        """Return the sequences of `rows`, which have no fault, by the number of values of a step.

        Returns:
            For each number of values that occurs, (n,) rows and a source of n sequences.
        """
        # The rows of a source have steps of one width; a model that cuts steps reads two widths.
        ends, found = np.cumsum(self.counts), []
        for width in widths_of(preprocessing):
            chosen = rows[self.counts[rows] == self.lengths[rows] * width]
            if len(chosen) == 0:
                continue
            if len(chosen) == len(self.counts):
                values = self.values
            else:
                kept = np.zeros(len(self.counts), bool)
                kept[chosen] = True
                values = self.values[: ends[-1]][np.repeat(kept, self.counts)]
            n = len(chosen)
            targets = np.zeros(n, np.int64)
            source = MemorySource(values.reshape(-1, width), self.lengths[chosen], targets, ())
            found.append((chosen, source))
        return found


def widths_of(preprocessing: Preprocessing) -> tuple[int, ...]:
    """Return the numbers of values of a step that a model reads: as read, and as cut for the network."""
    picture = preprocessing.picture
    if picture is not None:
        return (picture.width * picture.channels,)
    return tuple(dict.fromkeys((preprocessing.source_features, preprocessing.features)))


def prepare(
    source: MemorySource, ids: Sequence[str | None], preprocessing: Preprocessing
) -> tuple[dict[int, str], MemorySource | None]:
    """Check values and apply a model's preprocessing.

    Args:
        source: N sequences as they were read.
        ids: Their identifiers, for messages.
        preprocessing: The model's.

    Returns:
        What is wrong, by sequence; and the other sequences as the network's steps, None if there are none.
    """

    def steps(part: MemorySource) -> MemorySource:
        check_values(part, preprocessing.missing != "error", trained=True)
        return preprocessing.prepare(part)

    # Nearly always no sequence is faulty, and all are prepared in one call.
    try:
        return {}, steps(source)
    except (DataError, UsageError):
        names = feature_names(preprocessing, source.features)
        wrong = _wrong_ones(source, ids, names, steps)
    good = np.array([index for index in range(len(source)) if index not in wrong], np.int64)
    return wrong, steps(source.take(good)) if len(good) else None


def feature_names(preprocessing: Preprocessing, width: int) -> tuple[str, ...]:
    """Return names of the values of a step: the model's if it has them, otherwise their numbers."""
    names = preprocessing.settings.feature_columns
    return names if len(names) == width else tuple(map(str, range(width)))


def _wrong_ones(
    source: MemorySource,
    ids: Sequence[str | None],
    names: tuple[str, ...],
    steps: Callable[[MemorySource], MemorySource],
) -> dict[int, str]:
    """Return the error of each sequence that `steps` refuses, by its index.

    Halves that are not refused are not divided further: finding k of N takes about k log N calls.
    """
    wrong: dict[int, str] = {}
    parts = [(0, len(source))]
    while parts:
        first, end = parts.pop()
        part = source.take(slice(first, end))
        # The message for a single sequence is the one that a user reads.
        if end == first + 1:
            info = SourceInfo(locate=lambda index, step=0, /: f"step {step}", feature_names=names)
            part = replace(part, name=f"sequence {ids[first]}", info=info)
        try:
            steps(part)
        except (DataError, UsageError) as error:
            if end == first + 1:
                wrong[first] = str(error)
            else:
                middle = (first + end) // 2
                parts += [(first, middle), (middle, end)]
    return wrong


def _one_chunk(column: Any) -> Any:
    pa = require_pyarrow()
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numpy(array: Any) -> NDArray[Any]:
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _values(steps: Any) -> NDArray[Any]:
    """Return the values of all lists, uint8 where they are bytes, otherwise float32 with NaN for null."""
    pa = require_pyarrow()
    flat = steps.flatten()
    if not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type)):
        raise DataError(f"column steps: expected lists of numbers, found {steps.type}")
    values = _numpy(flat)  # with nulls: float64, or float32 of float32
    if values.dtype.kind in "iu":
        # Spark has no unsigned bytes: it reads them as int16.
        if values.dtype == np.uint8 or not values.size or (values.min() >= 0 and values.max() <= 255):
            return values.astype(np.uint8, copy=False)
        values = values.astype(np.float64)
    return to_float32(values)
