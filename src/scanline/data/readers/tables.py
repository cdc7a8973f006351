"""Reads CSV and Parquet files as arrays, with the roles of columns and the place of each row."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import check_look
from scanline.data.label_sets import CELL
from scanline.data.readers.column_roles import Columns
from scanline.data.readers.dialects import TEXT_SUFFIXES
from scanline.data.readers.names import Names
from scanline.data.readers.parquet_sizes import arrow_errors
from scanline.data.readers.table_rows import Layout, ReadAgainError, RowParser, cell_of, open_rows
from scanline.data.time_features import PLAIN, TimeUnit
from scanline.errors import DataError
from scanline.formats.text import is_number
from scanline.recipe import DataSettings

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".xlsx", *TEXT_SUFFIXES)


@dataclass(frozen=True, eq=False)
class Table:
    """R rows in memory.

    values: (R, C) float32 of the feature columns, NaN for empty cells. time: (R,) or None.
    day: length of a day in the unit of `time`, if that is a time of day; otherwise 0. unit: what `time` is.
    counts: (R,) of the length column, or None. label, id, group and split are None without such a column.
    place: names the place of a row, counted from 0, in the file. notes: what was inferred, for the user.
    decimal: mark before the decimals of its numbers, if that was inferred. categories: as in `SourceInfo`.
    """

    path: Path
    columns: Columns
    values: NDArray[np.float32]
    label: Names | None
    id: Names | None
    group: Names | None
    split: Names | None
    time: NDArray[Any] | None
    day: int
    counts: NDArray[Any] | None
    place: Callable[[int], str]
    notes: tuple[str, ...]
    decimal: str = ""
    categories: tuple[tuple[str, ...] | None, ...] = ()
    unit: TimeUnit = PLAIN

    def fail(self, row: int, what: str, column: str = "") -> NoReturn:
        """Raise DataError naming the place of `row`, and the column if there is one."""
        raise DataError(f"{self.path}: {self.place(row)}{cell_of(column)}: {what}")


def is_table(path: Path) -> bool:
    """Return whether `path` has the suffix of a table."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(path: Path, settings: DataSettings, optional: Collection[str] = ()) -> Table:
    """Read the table in a file; its suffix decides the format.

    Args:
        path: The file.
        settings: As for `assign`.
        optional: As for `assign`.

    Raises:
        DataError: Names the line, what was expected and what was found.
        UsageError: If the roles of columns are ambiguous, or PyArrow is not installed.
    """
    rows = open_rows(path, settings, optional)
    while True:
        with contextlib.suppress(ReadAgainError), arrow_errors(path):
            return _collect(rows.layout, rows.batches())


def _collect(layout: Layout, batches: Iterable[pyarrow.RecordBatch]) -> Table:
    """Collect the batches into a table."""
    path, columns = layout.path, layout.columns
    width = len(columns.features)
    layout.check_width()
    # Untouched pages take no memory, and the estimate is capped by what the file may unpack to.
    values = np.empty((max(0, min(layout.about, layout.most_rows)), width), np.float32)
    parser = RowParser(layout)
    measured: dict[str, list[NDArray[Any]]] = {name: [] for name in (columns.time, columns.length) if name}
    for batch in batches:
        first, end = parser.first, parser.first + batch.num_rows
        layout.check_rows(end)
        if end > len(values):  # realloc: grows in place if possible; 5/4 amortises the copies
            values.resize((max(end, len(values) * 5 // 4), values.shape[1]), refcheck=False)
        for name, numbers in parser.parse(batch, values[first:end]).items():
            measured[name].append(numbers)
    if parser.first == 0:
        raise DataError(f"{path}: expected rows, found none")
    values.resize((parser.first, values.shape[1]), refcheck=False)

    def names(name: str) -> Names | None:
        if not name:
            return None
        check_look(parser.named[name].known, f"{path}{cell_of(name)}")
        return parser.named[name].names()

    if not layout.settings.categorical_columns:
        _check_all_text(layout, parser, values)
    return Table(
        path,
        columns,
        values,
        label=_together([each for name in columns.labels if (each := names(name))] or [names(columns.label)]),
        id=names(columns.id),
        group=names(columns.group),
        split=names(columns.split),
        time=np.concatenate(measured[columns.time]) if columns.time else None,
        day=parser.times.day,
        counts=np.concatenate(measured[columns.length]) if columns.length else None,
        place=layout.place,
        notes=(*layout.notes, *columns.notes),
        decimal=layout.decimal,
        categories=parser.categories(),
        unit=parser.times.unit,
    )


def _together(columns: Sequence[Names | None]) -> Names | None:
    """Return columns of labels as one, whose texts are the cells of a row with `CELL` between them."""
    if len(columns) == 1 or columns[0] is None:
        return columns[0]
    each = [column for column in columns if column is not None]
    rows, codes = np.unique(np.stack([column.codes for column in each], 1), axis=0, return_inverse=True)
    texts = (CELL.join(column.texts[code] for column, code in zip(each, row, strict=True)) for row in rows)
    return Names(codes.reshape(-1).astype(np.int32), tuple(texts))


def _check_all_text(layout: Layout, parser: RowParser, values: NDArray[np.float32]) -> None:
    """Check that columns whose first cells are text hold no numbers. Raises DataError naming the first."""
    for name in layout.columns.categorical:
        known = parser.coded[name].known
        numbers = [code for text, code in known.items() if is_number(text)]
        if numbers:
            index = layout.columns.features.index(name)
            row = int(np.flatnonzero(np.isin(values[:, index], numbers))[0])
            text = list(known)[int(values[row, index])]
            raise DataError(
                where=f"{layout.path}: {layout.place(row)}{cell_of(name)}",
                expected="text, as in the first rows",
                found=f"the number {text!r}",
                remedy=f"give --categorical-columns {','.join(layout.columns.categorical)} if numbers name "
                "categories, too",
            )
