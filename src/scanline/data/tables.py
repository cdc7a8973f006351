"""CSV and Parquet files as arrays: which column is what, and where in the file a row stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.data.columns import Columns, assign
from scanline.data.delimited import open_delimited
from scanline.errors import DataError, UsageError
from scanline.recipe import DataSettings

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")


@dataclass(frozen=True, eq=False)
class Names:
    """A column of names: (R,) codes, and the texts they stand for in order of first appearance."""

    codes: NDArray[np.int32]
    texts: tuple[str, ...]

    def at(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The names in `rows`, as an array of text objects."""
        texts: NDArray[Any] = np.array(self.texts, dtype=object)[self.codes[rows]]
        return texts


@dataclass(frozen=True, eq=False)
class Table:
    """R rows in memory.

    values: (R, C) float32 of the feature columns, NaN where a cell is empty. time: (R,) or None.
    counts: (R,) of the length column, or None. The columns of names are None where there are none.
    place: where a row, counted from 0, stands in the file. notes: what was guessed.
    """

    path: Path
    columns: Columns
    values: NDArray[np.float32]
    label: Names | None
    id: Names | None
    group: Names | None
    split: Names | None
    time: NDArray[Any] | None
    counts: NDArray[np.float64] | None
    place: Callable[[int], str]
    notes: tuple[str, ...]

    def fail(self, row: int, what: str) -> NoReturn:
        """Raises DataError naming the place of `row`."""
        raise DataError(f"{self.path}: {self.place(row)}: {what}")


def is_table(path: Path) -> bool:
    """Whether the name of `path` ends like a table's."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(path: Path, settings: DataSettings, optional: Collection[str] = ()) -> Table:
    """The table in the file `path`, of the kind that its name ends in. settings, optional: as for `assign`.

    Raises DataError naming the line, what was expected and what was found; UsageError if it cannot be told
    which column is what, or PyArrow is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise UsageError(
            f"reading {path} needs PyArrow, which is not installed: pip install 'scanline[tables]'"
        ) from None
    try:
        if path.suffix.lower() == ".parquet":
            return _read_parquet(path, settings, optional)
        return _read_csv(path, settings, optional)
    except OSError as error:
        reason = " ".join((error.strerror or str(error)).split())[:200]
        raise DataError(f"{path}: cannot be read ({reason})") from error
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def _read_csv(path: Path, settings: DataSettings, optional: Collection[str]) -> Table:
    import pyarrow

    file = open_delimited(path)
    columns = assign(list(file.names), settings, str(path), optional)
    types: dict[str, Any] = dict.fromkeys(columns.features, pyarrow.float32())
    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    types |= {name: text for name in (columns.label, columns.id, columns.group, columns.split) if name}
    if columns.length:
        types[columns.length] = pyarrow.float64()
    if columns.time:
        types[columns.time] = _time_type(path, columns.time, file.infer(columns.time))
    table = file.read(types)
    if table.num_rows == 0:
        raise DataError(f"{path}: expected rows after the header, found none")
    rows, batches = table.num_rows, table.to_batches()
    del table  # so that each batch can be given back as soon as it has been copied
    batches.reverse()
    emptied = (batches.pop() for _ in range(len(batches)))
    return _collect(path, columns, emptied, rows, lambda row: f"line {file.line(row)}", file.notes)


def _time_type(path: Path, name: str, inferred: Any) -> Any:
    """How to read the time column: numbers with their fractions, or moments in nanoseconds."""
    import pyarrow.types as kinds
    from pyarrow import float64, timestamp

    if kinds.is_integer(inferred) or kinds.is_floating(inferred) or kinds.is_null(inferred):
        return float64()
    if kinds.is_timestamp(inferred) or kinds.is_date(inferred):
        return timestamp("ns", inferred.tz if kinds.is_timestamp(inferred) else None)
    if kinds.is_time(inferred):
        return inferred
    raise DataError(
        f"{path}: column {name}: expected times, numbers or dates as 2026-01-31 12:00:00, found {inferred}"
    )


def _read_parquet(path: Path, settings: DataSettings, optional: Collection[str]) -> Table:
    from pyarrow import parquet
    from pyarrow import types as kinds

    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        columns = assign(schema.names, settings, str(path), optional)
        for name in columns.features:
            kind = schema.field(name).type
            if not any(test(kind) for test in (kinds.is_integer, kinds.is_floating, kinds.is_decimal)):
                raise DataError(f"{path}: column {name}: expected numbers, found {kind}")
        if columns.time:
            _time_type(path, columns.time, schema.field(columns.time).type)
        if file.metadata.num_rows == 0:
            raise DataError(f"{path}: expected rows, found none")
        wanted = [*columns.named, *columns.features]
        batches = file.iter_batches(columns=wanted)
        return _collect(path, columns, batches, file.metadata.num_rows, lambda row: f"row {row + 1}", ())


class _Collector:
    """A column of names as it grows batch by batch."""

    def __init__(self, rows: int) -> None:
        self.codes = np.empty(rows, np.int32)
        self.known: dict[str, int] = {}

    def add(self, first: int, column: Any) -> None:
        import pyarrow
        from pyarrow import compute

        if not pyarrow.types.is_dictionary(column.type):
            column = compute.cast(column, pyarrow.string()).dictionary_encode()
        known = self.known
        texts = ["" if text is None else str(text) for text in column.dictionary.to_pylist()]
        codes = [known.setdefault(text, len(known)) for text in texts]
        empty = known.setdefault("", len(known)) if column.null_count else 0
        indices = column.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
        self.codes[first : first + len(column)] = np.array([*codes, empty], np.int32)[indices]

    def names(self) -> Names:
        return Names(self.codes, tuple(self.known))


def _collect(
    path: Path,
    columns: Columns,
    batches: Iterable[pyarrow.RecordBatch],
    rows: int,
    place: Callable[[int], str],
    notes: tuple[str, ...],
) -> Table:
    import pyarrow

    values = np.empty((rows, len(columns.features)), np.float32)
    named = {role: _Collector(rows) for role in ("label", "id", "group", "split") if getattr(columns, role)}
    time: list[NDArray[Any]] = []
    counts: list[NDArray[Any]] = []
    first = 0
    for batch in batches:
        block = values[first : first + batch.num_rows]
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused later
            for index, name in enumerate(columns.features):
                column = batch.column(name)
                if pyarrow.types.is_decimal(column.type):
                    column = column.cast(pyarrow.float64())
                block[:, index] = column.to_numpy(zero_copy_only=False)
        for role, collector in named.items():
            collector.add(first, batch.column(getattr(columns, role)))
        for name, parts in ((columns.time, time), (columns.length, counts)):
            if name:
                column = batch.column(name)
                if column.null_count:
                    row = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
                    raise DataError(f"{path}: {place(row)}, column {name}: expected a value, found none")
                parts.append(_sortable(column))
        first += batch.num_rows
    return Table(
        path,
        columns,
        values,
        **{
            role: named[role].names() if role in named else None for role in ("label", "id", "group", "split")
        },
        time=np.concatenate(time) if time else None,
        counts=np.concatenate(counts) if counts else None,
        place=place,
        notes=(*notes, *columns.notes),
    )


def _sortable(column: Any) -> NDArray[Any]:
    """Numbers as they are; dates and times as whole numbers of their unit."""
    import pyarrow
    from pyarrow import compute

    kind = column.type
    if pyarrow.types.is_date32(kind) or pyarrow.types.is_time32(kind):
        column = compute.cast(column, pyarrow.int32())
    elif pyarrow.types.is_temporal(kind):
        column = compute.cast(column, pyarrow.int64())
    array: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return array
