"""Long tables of any size, read as whole sequences: in the order of the file, or sorted on disk.

Rows are read by the readers of tables in batches. As soon as all rows of a sequence are together, they make a
small table, which is checked by the same code as one that was read as a whole.
"""

from __future__ import annotations

import bisect
import itertools
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import check_look
from scanline.data.packing.column_watch import ColumnWatch
from scanline.data.readers.bookkeeping import ColumnFacts, separate_counters
from scanline.data.readers.column_roles import Columns, settle
from scanline.data.readers.names import Names, NamesCollector
from scanline.data.readers.parquet_sizes import arrow_errors
from scanline.data.readers.table_rows import RowParser, TableRows, cell_of, open_rows
from scanline.data.readers.table_sequences import check_named
from scanline.data.readers.tables import Table
from scanline.data.readers.text_columns import refuse_categories
from scanline.errors import DataError
from scanline.recipe import DataSettings

if TYPE_CHECKING:
    import pyarrow

_CODES = ("label", "group", "split")


class _Rows(Table):
    """Rows of several files, whose places name the file."""

    def fail(self, row: int, what: str, column: str = "") -> NoReturn:
        raise DataError(f"{self.place(row)}{cell_of(column)}: {what}")


class LongTables:
    """Long tables that are read one after another as one table.

    Args:
        paths: The files.
        settings: How to read them; what is inferred from the first applies to the others.
        optional: As for `column_roles.assign`.

    Attributes:
        title: What messages call them.
        columns: Roles of the columns of the first.
        settings: The settings with what was inferred.
        starts: Number of the first row of each file that was begun.
        named: Labels, groups and splits so far, by role.
        day: As for `Table`.
        rows: Number of rows that were read.
        about: An estimate of the number of all rows; 0 if none can be made.
    """

    def __init__(self, paths: Sequence[Path], settings: DataSettings, optional: Collection[str]) -> None:
        self._optional = optional
        self.paths = list(paths)
        first = open_rows(paths[0], settings, optional)
        self.columns, self.layout = first.layout.columns, first.layout
        self._searched = not optional and not settings.feature_columns and settings.step_columns == ()
        self.settings = settle(settings, self.columns, "long")
        self._open: list[TableRows | None] = [first, *([None] * (len(paths) - 1))]
        title = str(paths[0]) if len(paths) == 1 else f"{len(paths):,} files from {paths[0]}"
        self.title = Path(title)
        sizes = [path.stat().st_size for path in paths]
        self.about = self.layout.about * sum(sizes) // max(1, sizes[0])
        self.reset()

    def reset(self) -> None:
        """Begin again from the first row."""
        self.starts: list[int] = []
        self.named = {role: NamesCollector() for role in _CODES if getattr(self.columns, role)}
        self.day, self.rows = 0, 0
        self.watch = ColumnWatch(self.columns.features) if self._searched else None
        self._texts: dict[str, tuple[str, ...]] = {}

    @property
    def schema(self) -> pyarrow.Schema:
        """Columns of the batches: what a row of a sequence has."""
        import pyarrow

        return pyarrow.schema(
            [
                ("id", pyarrow.string()),
                ("row", pyarrow.int64()),
                ("place", pyarrow.int64()),
                *((role, pyarrow.int32()) for role in _CODES),
                ("whole_time", pyarrow.int64()),
                ("time", pyarrow.float64()),
                ("values", pyarrow.binary(4 * len(self.columns.features))),
            ]
        )

    @property
    def row_bytes(self) -> int:
        """About the size of a row of a batch in memory."""
        return 4 * len(self.columns.features) + 80

    @property
    def expected_bytes(self) -> int:
        """About the size of all rows in memory."""
        packed = sum(path.stat().st_size for path in self.paths)
        # The rows of compressed text cannot be estimated: numbers are taken to compress to a fifth.
        return self.about * self.row_bytes if self.about else 5 * packed

    def place(self, row: int) -> str:
        """Return the place of a row: its line, and its file if there are several."""
        file = bisect.bisect_right(self.starts, row) - 1
        opened = self._open[file]
        assert opened is not None
        place = opened.layout.place(row - self.starts[file])
        return place if len(self.paths) == 1 else f"{self.paths[file]}: {place}"

    def batches(self) -> Iterator[pyarrow.RecordBatch]:
        """Yield all rows in the order of the files.

        Raises:
            DataError: If a row cannot be read; names its place.
            UsageError: If the roles of columns are ambiguous.
            ReadAgainError: As for `TableRows.batches`; then call `reset`, and this again.
        """
        for number, path in enumerate(self.paths):
            table = self._open[number] or open_rows(path, self.settings, self._optional)
            refuse_categories(table.layout.columns, path)
            self._open[number] = table
            self.starts.append(self.rows)
            table.layout.check_width()
            parser = RowParser(table.layout)
            for batch in table.batches():
                with arrow_errors(path):
                    made = self._convert(table, parser, batch)
                yield made
            if not parser.first:
                raise DataError(f"{path}: expected rows, found none")
        for role, collector in self.named.items():
            check_look(collector.known, f"{self.title}{cell_of(getattr(self.columns, role))}")

    def _convert(
        self, table: TableRows, parser: RowParser, batch: pyarrow.RecordBatch
    ) -> pyarrow.RecordBatch:
        import pyarrow

        columns, count = table.layout.columns, batch.num_rows
        for role, collector in self.named.items():
            parser.named[getattr(columns, role)] = collector
        if columns.id != columns.group:
            # Identifiers are not kept: there may be more of them than memory holds.
            parser.named[columns.id] = NamesCollector()
        values = np.empty((count, len(columns.features)), np.float32)
        first = parser.first
        measured = parser.parse(batch, values)
        table.layout.check_rows(parser.first)
        ids = parser.named[columns.id].names()
        codes = {role: collector.codes.pop() for role, collector in self.named.items()}
        if columns.id == columns.group:
            ids = replace(ids, codes=codes["group"])
        rows = Table(
            table.layout.path, columns, values, None, ids, None, None, None, 0, None,
            lambda row: table.layout.place(first + row), (),
        )  # fmt: skip
        group = self._names("group", codes["group"]) if "group" in codes else None
        check_named(replace(rows, group=group))
        if self.watch is not None:
            self.watch.see(values, self.rows)
        self.day = max(self.day, parser.times.day)
        arrays = [
            pyarrow.DictionaryArray.from_arrays(ids.codes, list(ids.texts)).cast(pyarrow.string()),
            pyarrow.array(np.arange(self.rows, self.rows + count)),
            # Rows of an id have equal places; so may those of several.
            pyarrow.array(np.array([zlib.crc32(text.encode()) for text in ids.texts], np.int64)[ids.codes]),
            *(
                pyarrow.array(codes[role]) if role in codes else _nulls(count, pyarrow.int32())
                for role in _CODES
            ),
            *_time_columns(measured.get(columns.time) if columns.time else None, count),
            pyarrow.FixedSizeBinaryArray.from_buffers(
                pyarrow.binary(4 * values.shape[1]), count, [None, pyarrow.py_buffer(values)]
            ),
        ]
        self.rows += count
        return pyarrow.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _names(self, role: str, codes: NDArray[np.int32]) -> Names:
        """Return codes with the texts that they stand for; these are copied if there are new ones only."""
        collector = self.named[role]
        if len(self._texts.get(role, ())) != len(collector.known):
            self._texts[role] = tuple(collector.known)
        return Names(codes, self._texts[role], collector.kind)

    def features(self) -> tuple[Columns, tuple[str, ...]]:
        """Return the columns without features that count the rows, and notes, once all rows were read.

        Raises:
            UsageError: If it is in doubt whether a feature counts the rows.
        """
        if self.watch is None:
            return self.columns, ()
        watch = self.watch
        empty = Table(
            self.title, self.columns, np.empty((0, len(self.columns.features)), np.float32),
            None, None, None, None, None, 0, None, self.place, (),
        )  # fmt: skip

        def facts(name: str) -> ColumnFacts:
            return watch.facts(self.columns.features.index(name))

        kept = separate_counters(empty, facts, "long")
        return kept.columns, kept.notes

    def table(self, batches: Sequence[pyarrow.RecordBatch], kept: Columns) -> tuple[Table, NDArray[np.int64]]:
        """Return rows of whole sequences as a table, and the (R,) number of each row."""
        import pyarrow

        rows = pyarrow.Table.from_batches(batches).combine_chunks()
        numbers = rows.column("row").to_numpy()
        ids = rows.column("id").combine_chunks().dictionary_encode()
        if isinstance(ids, pyarrow.ChunkedArray):
            ids = ids.combine_chunks()
        names = Names(ids.indices.to_numpy(), tuple(ids.dictionary.to_pylist()))
        values = _decode_values(rows.column("values"), len(self.columns.features))
        if kept.features != self.columns.features:
            values = values[:, [self.columns.features.index(name) for name in kept.features]]
        coded = {
            role: self._names(role, rows.column(role).to_numpy()) if role in self.named else None
            for role in _CODES
        }
        kind = Table if len(self.paths) == 1 else _Rows
        table = kind(
            self.title,
            kept,
            values,
            coded["label"],
            names,
            coded["group"],
            coded["split"],
            _decode_times(rows) if self.columns.time else None,
            self.day,
            None,
            lambda row: self.place(int(numbers[row])),
            (),
            self.layout.decimal,
        )
        return table, numbers

    def file_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of the file of each row."""
        return np.searchsorted(np.array(self.starts), rows, "right") - 1


def is_contiguous(batch: pyarrow.RecordBatch) -> bool:
    """Return whether the rows of each id are together in a batch."""
    from pyarrow import compute

    ids = batch.column("id")
    distinct: int = compute.count_distinct(ids).as_py()
    return len(run_starts(ids)) + 1 == distinct


def run_starts(ids: pyarrow.Array) -> NDArray[np.int64]:
    """Return where the id differs from that of the row before."""
    from pyarrow import compute

    if len(ids) < 2:
        return np.zeros(0, np.int64)
    differs = compute.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(differs) + 1


def whole_sequences(
    batches: Iterator[pyarrow.RecordBatch],
    key: str,
    size: Callable[[int], bool],
) -> Iterator[list[pyarrow.RecordBatch]]:
    """Yield batches that hold all rows of their sequences, which are together in `batches`.

    Args:
        batches: Rows in which those of a sequence are together.
        key: Column that changes with the sequence.
        size: Returns whether so many rows are enough.
    """
    held: list[pyarrow.RecordBatch] = []
    count, last = 0, None
    for batch in batches:
        if not batch.num_rows:
            continue
        column = batch.column(key)
        starts = run_starts(column)
        begins = column[0].as_py() != last
        last = column[batch.num_rows - 1].as_py()
        # The last sequence may go on in the next batch.
        cut = int(starts[-1]) if len(starts) else 0 if begins else -1
        if cut >= 0 and size(count + cut) and count + cut:
            yield [*held, batch.slice(0, cut)] if cut else held
            held, count = [batch.slice(cut)], batch.num_rows - cut
        else:
            held.append(batch)
            count += batch.num_rows
    if held:
        yield held


def first_and_rest(
    batches: Iterator[pyarrow.RecordBatch],
) -> tuple[pyarrow.RecordBatch, Iterator[pyarrow.RecordBatch]]:
    """Return the first batch, and all of them."""
    first = next(batches)
    return first, itertools.chain([first], batches)


def _nulls(count: int, kind: Any) -> Any:
    import pyarrow

    return pyarrow.nulls(count, kind)


def _time_columns(times: NDArray[Any] | None, count: int) -> tuple[Any, Any]:
    """Return times as integers, which are exact as such, and as floats; one of them is null."""
    import pyarrow

    whole, real = _nulls(count, pyarrow.int64()), _nulls(count, pyarrow.float64())
    if times is None:
        return whole, real
    if times.dtype.kind in "iu" and (not count or times.max() < 2**63):
        return pyarrow.array(times.astype(np.int64)), real
    return whole, pyarrow.array(times.astype(np.float64))


def _decode_times(rows: pyarrow.Table) -> NDArray[Any]:
    whole, real = rows.column("whole_time"), rows.column("time")
    if not whole.null_count:
        times: NDArray[Any] = whole.to_numpy()
        return times
    floats: NDArray[np.float64] = real.to_numpy(zero_copy_only=False).astype(np.float64)
    if whole.null_count == len(rows):
        return floats
    mixed: NDArray[np.float64] = np.where(np.isnan(floats), whole.to_numpy(zero_copy_only=False), floats)
    return mixed


def _decode_values(column: Any, width: int) -> NDArray[np.float32]:
    """Return a column of bytes as (R, F) values."""
    import pyarrow

    array = column.combine_chunks()
    if isinstance(array, pyarrow.ChunkedArray):
        array = pyarrow.concat_arrays(array.chunks)
    count, offset = len(array), array.offset
    buffers = array.buffers()
    if pyarrow.types.is_fixed_size_binary(array.type):
        begin = offset * width
        flat = np.frombuffer(buffers[1], np.float32, count * width, 4 * begin)
    else:
        kind = np.int64 if pyarrow.types.is_large_binary(array.type) else np.int32
        ends = np.frombuffer(buffers[1], kind, count + 1, offset * np.dtype(kind).itemsize)
        flat = np.frombuffer(buffers[2], np.float32, count * width, int(ends[0]))
    return flat.reshape(count, width)
