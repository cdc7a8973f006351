"""Rows of CSV and Parquet files batch by batch, with the roles of columns and the place of each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.data.readers.column_roles import Columns, assign
from scanline.data.readers.dialects import decimal_mark, has_label_first, settle_header
from scanline.data.readers.names import NamesCollector
from scanline.data.readers.parquet_sizes import BATCH_CELLS, arrow_errors, named_sizes
from scanline.data.readers.row_numbers import NumberFault, to_numbers
from scanline.data.readers.row_times import TimeColumn, TimeFault
from scanline.data.readers.text_columns import ask_for_id, find_categorical, with_hint
from scanline.errors import DataError, FormatError, MissingExtraError, one_line
from scanline.formats.csv_pieces import RowBoundaryError
from scanline.formats.delimited import Delimited, open_delimited
from scanline.limits import exceeded, exceeded_unpacked, limit_of, unpacked_limit
from scanline.recipe import DataSettings

if TYPE_CHECKING:
    import pyarrow

MAX_CODES = 2**24  # float32 has all whole numbers up to this one
_NAMES = ("label", "id", "group", "split")
_NUMBERS = ("is_integer", "is_floating", "is_decimal", "is_null")
_SAMPLE_ROWS = 100  # of a Parquet column that may be categorical
_TEXTS = ("is_string", "is_large_string", "is_string_view")


class ReadAgainError(Exception):
    """The rows have to be read again from the first: what was inferred from the first rows does not hold."""


@dataclass(frozen=True, eq=False)
class Layout:
    """How the rows of a table are read.

    path: the file. columns: roles of its columns. place: names the place of a row, counted from 0.
    notes: what was inferred, for the user. about: an estimate of the number of rows. settings: as for
    `assign`. decimal: as for `Table`.
    """

    path: Path
    columns: Columns
    place: Callable[[int], str]
    notes: tuple[str, ...]
    about: int
    settings: DataSettings
    decimal: str = ""

    @property
    def most_rows(self) -> int:
        """How many rows a file of this size may unpack to."""
        return unpacked_limit(self.path.stat().st_size) // (4 * len(self.columns.features))

    def check_rows(self, count: int) -> None:
        """Raise DataError if the file may not unpack to `count` rows."""
        if count > self.most_rows:
            needed = 4 * len(self.columns.features) * count
            raise DataError(f"{self.path}: {exceeded_unpacked(self.path.stat().st_size, needed)}")

    def check_width(self) -> None:
        """Raise DataError if the table has too many features."""
        width = len(self.columns.features)
        if width > limit_of("FEATURES"):
            raise DataError(f"{self.path}: {exceeded('FEATURES', width)}")


class TableRows(ABC):
    """The rows of a table.

    Attributes:
        layout: How they are read.
    """

    layout: Layout

    @abstractmethod
    def batches(self) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows from the first as record batches.

        Raises:
            DataError: If a row cannot be read; names its place.
            ReadAgainError: If rows cannot be separated by their quotes, or times have fractions after
                integers. The next call reads them accordingly.
        """


def open_rows(path: Path, settings: DataSettings, optional: Collection[str] = ()) -> TableRows:
    """Return the rows of the table in a file; its suffix decides the format.

    Args:
        path: The file.
        settings: As for `assign`.
        optional: As for `assign`.

    Raises:
        DataError: Names the line, what was expected and what was found.
        UsageError: If the roles of columns are ambiguous, or PyArrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError(f"reading {path}", ["pyarrow"], "tables") from None
    with arrow_errors(path):
        if path.suffix.lower() == ".parquet":
            return _ParquetRows(path, settings, optional)
        return _CsvRows(path, settings, optional)


def cell_of(column: str) -> str:
    """Return the column of a cell for a message, "" if there is none."""
    return f", column {one_line(column)}" if column else ""


class _CsvRows(TableRows):
    def __init__(self, path: Path, settings: DataSettings, optional: Collection[str]) -> None:
        import pyarrow

        file = settle_header(open_delimited(path, settings.encoding, settings.separator), settings, optional)
        first = has_label_first(file, settings, optional)
        if first:
            settings = settings.model_copy(update={"label_column": file.names[0]})
        _check_header(file, settings)
        columns = assign(file.names, settings, str(path), optional, file.headed)
        ask_for_id(path, columns, lambda name: file.sampled([name]), settings)
        columns = find_categorical(path, columns, lambda name: file.sampled([name]), settings)
        file = replace(file, decimal=decimal_mark(file, settings, columns))
        # float64 first: decimal text is then rounded to float32 as values of Parquet files and programs are.
        types: dict[str, Any] = dict.fromkeys(columns.features, pyarrow.float64())
        text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        types |= {name: text for role in _NAMES if (name := getattr(columns, role))}
        types |= dict.fromkeys(columns.labels, text)
        types |= dict.fromkeys(columns.categorical, text)
        if columns.length:
            types[columns.length] = pyarrow.float64()
        notes = file.notes
        if first:
            notes = (*notes, "label column 0, as in the UCR archive")
        if file.decimal == ",":
            notes = (*notes, "decimal commas")
        if columns.time:
            types[columns.time] = text if settings.time_format else file.time_type(columns.time)

        def place(row: int) -> str:
            return f"line {file.line(row)}"

        self.layout = Layout(path, columns, place, notes, file.estimate_rows(), settings, file.decimal)
        self._file, self._types, self._in_pieces = file, types, True

    def batches(self) -> Iterator[pyarrow.RecordBatch]:
        import pyarrow

        columns = self.layout.columns
        try:
            with arrow_errors(self.layout.path):
                yield from self._file.batches(self._types, self._in_pieces)
        except RowBoundaryError as error:  # lines within cells, and quotes within words
            self._in_pieces = False
            raise ReadAgainError from error
        except FormatError as error:
            if not columns.time or self._types[columns.time] != pyarrow.int64():
                raise with_hint(self._with_first_time(error), columns, self.layout.settings) from error
            # The first times are integers, which are exact as such; others may be fractions.
            self._types[columns.time] = pyarrow.float64()
            raise ReadAgainError from error

    def _with_first_time(self, error: FormatError) -> FormatError:
        """Return an error about a time with the place of the first one, which has another format."""
        time = self.layout.columns.time
        if not time or not (error.place or "").endswith(f", column {one_line(time)}"):
            return error
        first = dict(zip(self._file.names, self._file.first, strict=False)).get(time, "")
        remedy = f"{self.layout.place(0)} has {first[:60]!r}: write all times of a column in one format"
        return error.within(remedy=remedy)


def _check_header(file: Delimited, settings: DataSettings) -> None:
    """Raise DataError if the first line has the numbers that name the steps, but not in order."""
    steps = set(settings.step_columns)
    if not file.headed and len(steps) > 1 and steps <= set(file.first):
        raise DataError(
            where=file.path,
            expected="a header line of numbers in order, or none",
            found="a first line with the names of the steps in another order",
            remedy="name the columns by words, or sort them",
        )


class _ParquetRows(TableRows):
    def __init__(self, path: Path, settings: DataSettings, optional: Collection[str]) -> None:
        from pyarrow import parquet, types

        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            columns = assign(schema.names, settings, str(path), optional)
            kinds = {name: schema.field(name).type for name in (*columns.features, *columns.named)}
            columns = find_categorical(path, columns, lambda name: _sample(file, name), settings)
            for name in columns.features:
                if name in columns.categorical:
                    continue
                _check_type(path, name, kinds[name], "numbers", (*_NUMBERS, *_TEXTS))
            if columns.length:
                _check_type(
                    path, columns.length, kinds[columns.length], "whole numbers", (*_NUMBERS, *_TEXTS)
                )
            if columns.time:
                times = (*_NUMBERS, *_TEXTS, "is_temporal")
                _check_type(path, columns.time, kinds[columns.time], "numbers, times or dates", times)
            named = (*columns.named, *columns.categorical)
            for name in named:
                if types.is_nested(kinds[name]):
                    raise DataError(
                        f"{path}: column {one_line(name)}: expected text, found {one_line(kinds[name])}"
                    )
            rows, packed = file.metadata.num_rows, path.stat().st_size
            self._named = named_sizes(path, file.schema, named)
            needed = max(4 * len(columns.features) * rows, self._named.unpacked_bytes)
            if needed > unpacked_limit(packed):
                raise DataError(f"{path}: {exceeded_unpacked(packed, needed)}")
            self._metadata, self._kinds = file.metadata, kinds
        self.layout = Layout(path, columns, lambda row: f"row {row + 1}", (), rows, settings)

    def batches(self) -> Iterator[pyarrow.RecordBatch]:
        from pyarrow import parquet

        path, named = self.layout.path, self._named
        # Dictionary-encoded columns: a text that many rows have in common is unpacked once.
        with (
            arrow_errors(path),
            parquet.ParquetFile(path, metadata=self._metadata, read_dictionary=named.shared) as file,
        ):
            size = max(1, min(BATCH_CELLS // len(self._kinds), named.rows))
            yield from file.iter_batches(size, columns=list(self._kinds))


def _sample(file: Any, name: str) -> list[str]:
    """Return the first cells of a column of text as text; none if the column has another type."""
    from pyarrow import types

    kind = file.schema_arrow.field(name).type
    plain = kind.value_type if types.is_dictionary(kind) else kind
    if not any(getattr(types, test)(plain) for test in _TEXTS):
        return []
    batch = next(file.iter_batches(_SAMPLE_ROWS, columns=[name]), None)
    return [] if batch is None else [cell or "" for cell in batch.column(0).to_pylist()]


def _check_type(path: Path, name: str, kind: Any, expected: str, tests: Iterable[str]) -> None:
    from pyarrow import types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    if not any(getattr(types, test)(plain) for test in tests):
        raise DataError(f"{path}: column {one_line(name)}: expected {expected}, found {one_line(kind)}")


def _measures(column: Any, times: TimeColumn | None, settings: DataSettings) -> NDArray[Any]:
    """Return a column of times, or of lengths if `times` is None, as finite numbers.

    Raises:
        NumberFault: At the first value that is missing or not a number.
        TimeFault: At the first value that is not a time.
    """
    values = to_numbers(column, settings.decimal) if times is None else times.convert(column)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        value = values[wrong[0]]
        found = "none" if np.isnan(value) else value
        raise NumberFault(int(wrong[0]), f"expected a value, found {found}")
    return values


class RowParser:
    """Parses the rows of a table batch by batch.

    Args:
        layout: The table.

    Attributes:
        named: Collectors of its columns of names, by the name of the column.
        coded: Collectors of its categorical features, likewise.
        times: Converter of its times.
        first: Number of rows that were parsed.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout, self.first = layout, 0
        columns = layout.columns
        self.named = {name: NamesCollector() for role in _NAMES if (name := getattr(columns, role))}
        self.named |= {name: NamesCollector() for name in columns.labels}
        self.coded = {name: NamesCollector() for name in columns.categorical}
        self.times = TimeColumn(layout.settings.time_format)
        self._typed = layout.path.suffix.lower() == ".parquet"  # everything in a CSV file is text

    def parse(self, batch: pyarrow.RecordBatch, out: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Parse a batch of R rows, whose names are added to `named`.

        Args:
            batch: The batch.
            out: (R, F) takes the values of the features.

        Returns:
            (R,) the times and the lengths, by the name of their column.

        Raises:
            DataError: Names the place of the first cell that is wrong.
        """
        columns, settings = self.layout.columns, self.layout.settings
        with np.errstate(over="ignore"):  # too large values become infinite, which is refused later
            for index, name in enumerate(columns.features):
                if name in self.coded:
                    out[:, index] = self._codes(batch.column(name), name)
                    continue
                try:
                    out[:, index] = to_numbers(batch.column(name), settings.decimal)
                except NumberFault as fault:
                    self._fail(fault.row, name, str(fault))
        for name, collector in self.named.items():
            if wrong_name := collector.add(batch.column(name), self._typed):
                self._fail(wrong_name[0], name, wrong_name[1])
        measured: dict[str, NDArray[Any]] = {}
        for name in filter(None, (columns.time, columns.length)):
            times = self.times if name == columns.time else None
            try:
                measured[name] = _measures(batch.column(name), times, settings)
            except NumberFault as fault:
                self._fail(fault.row, name, str(fault))
            except TimeFault as fault:
                more = f"; {self.layout.place(0)} has another format" if self.first + fault.row else ""
                self._fail(fault.row, name, f"{fault}{more}")
        self.first += batch.num_rows
        return measured

    def _codes(self, column: Any, name: str) -> NDArray[np.int32]:
        """Return the codes of a batch of categories, (R,)."""
        collector = self.coded[name]
        if wrong := collector.add(column, self._typed):
            self._fail(wrong[0], name, wrong[1])
        if len(collector.known) > MAX_CODES:
            self._fail(0, name, f"expected at most {MAX_CODES:,} categories, found more")
        return collector.codes.pop()

    def categories(self) -> tuple[tuple[str, ...] | None, ...]:
        """Return the names of the categories of each feature, see `SourceInfo`."""
        if not self.coded:
            return ()
        features = self.layout.columns.features
        return tuple(tuple(self.coded[name].known) if name in self.coded else None for name in features)

    def _fail(self, row: int, name: str, what: str) -> NoReturn:
        raise DataError(f"{self.layout.path}: {self.layout.place(self.first + row)}{cell_of(name)}: {what}")
