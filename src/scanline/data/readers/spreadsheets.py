"""Reads sequences from a sheet of an .xlsx workbook: a long or a wide table, or a table of texts."""

from __future__ import annotations

import csv
import datetime
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanline.data.memory import MemorySource
from scanline.data.readers.arrow_tables import read_arrow_table
from scanline.data.readers.text_tables import find_text_table, read_text_table
from scanline.errors import DataError, MissingExtraError, UsageError, one_line
from scanline.formats.spreadsheet import Cell, Workbook
from scanline.recipe import DataSettings

if TYPE_CHECKING:
    import pyarrow

SUFFIX = ".xlsx"
_CHUNK = 16_384  # rows that are Python objects at a time
_SAMPLE = 1_000  # rows that say whether a sheet is a table of texts


def is_spreadsheet(path: Path) -> bool:
    """Return whether `path` has the suffix of a workbook."""
    return path.name.lower().endswith(SUFFIX)


def read_spreadsheet(path: Path, settings: DataSettings, optional: Collection[str]) -> MemorySource:
    """Read the sequences in a sheet; its first row names the columns.

    Args:
        path: The workbook.
        settings: Which sheet, shape of the table and roles of its columns.
        optional: Roles of columns that may be absent.

    Raises:
        DataError: Names the row, counted without the first, what was expected and what was found.
        UsageError: If the table can be understood in more than one way, or has no such sheet.
        MissingExtraError: If openpyxl or PyArrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError(f"reading {path}", ["pyarrow"], "tables") from None
    with Workbook(path, settings.sheet) as book:
        rows = book.rows()
        names = _names(next(rows, None), path)
        sample = list(islice(rows, _SAMPLE))
        source = _read_texts(path, names, sample, rows, settings, optional)
        if source is None:
            table = _arrow_table(path, names, chain(sample, rows))
            source = read_arrow_table(table, settings, optional, str(path))
    info = source.info
    notes = info.notes
    if len(book.sheets) > 1 and not settings.sheet:
        notes = (*notes, f"{path}: read sheet {one_line(book.sheet)}, the first of {len(book.sheets)}")
    own = info.settings or settings
    changed = own.model_copy(update={"sheet": settings.sheet})
    return replace(source, info=replace(info, notes=notes, settings=changed))


def _names(row: Sequence[Cell] | None, path: Path) -> tuple[str, ...]:
    """Return the names of the columns. Raises DataError if there are none."""
    if row is None:
        raise DataError(f"{path}: expected rows, found none")
    cells = list(row)
    while cells and cells[-1] is None:
        cells.pop()
    return tuple("" if cell is None else str(cell).strip() for cell in cells)


def _read_texts(
    path: Path,
    names: tuple[str, ...],
    sample: Sequence[Sequence[Cell]],
    rows: Iterator[Sequence[Cell]],
    settings: DataSettings,
    optional: Collection[str],
) -> MemorySource | None:
    """Return the texts of a sheet; None if it is not a table of texts."""
    plain = settings.model_copy(update={"separator": ",", "encoding": "", "decimal": ""})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "sheet.csv"
        _write(target, [names, *sample])
        if (table := find_text_table(target, plain, optional)) is None:
            return None
        _write(target, rows, append=True)
        try:
            table = find_text_table(target, plain, optional)
            source = None if table is None else read_text_table(table, plain)
        except (DataError, UsageError) as error:
            kind = UsageError if isinstance(error, UsageError) else DataError
            raise kind(str(error).replace(str(target), str(path)), code=error.code) from None
    if source is None:
        return None
    notes = tuple(note.replace(str(target), str(path)) for note in source.info.notes)
    own = source.info.settings
    if own is not None:
        dialect = {key: getattr(settings, key) for key in ("separator", "encoding", "decimal")}
        own = own.model_copy(update=dialect)
    return replace(source, name=str(path), info=replace(source.info, notes=notes, settings=own))


def _write(target: Path, rows: Any, append: bool = False) -> None:
    with open(target, "a" if append else "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([_text(cell) for cell in row] for row in rows)


def _text(cell: Cell) -> str:
    return "" if cell is None else " ".join(str(cell).split("\n"))


def _arrow_table(path: Path, names: tuple[str, ...], rows: Iterator[Sequence[Cell]]) -> pyarrow.Table:
    """Return the rows as a table, each column with the type that all its cells have."""
    import pyarrow

    width, first = len(names), 0
    chunks: list[list[Any]] = [[] for _ in names]
    while chunk := list(islice(rows, _CHUNK)):
        for place, row in enumerate(chunk):
            if any(cell is not None for cell in row[width:]):
                raise DataError(
                    where=f"{path}: row {first + place + 1}", expected=f"{width} cells", found="more"
                )
        first += len(chunk)
        for column, parts in enumerate(chunks):
            parts.append(_array([row[column] if column < len(row) else None for row in chunk]))
    columns = []
    for parts in chunks:
        kind = _common_type([part.type for part in parts])
        columns.append(pyarrow.chunked_array([part.cast(kind) for part in parts], kind))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: expected columns of different names, found {one_line(twice)!r} twice")
    return pyarrow.table(dict(zip(names, columns, strict=True)))


def _array(cells: Sequence[Cell]) -> pyarrow.Array:
    """Return cells as an array of numbers, truth values, dates or times of day; of text if they differ."""
    import pyarrow

    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int, float} or len(kinds) == 1:
        if kinds == {int, float}:
            cells = [None if cell is None else float(cell) for cell in cells]  # type: ignore[arg-type]
        try:
            return pyarrow.array(cells, pyarrow.timestamp("us") if kinds == {datetime.datetime} else None)
        except (pyarrow.ArrowInvalid, OverflowError):  # an integer of more than 64 bits
            pass
    return pyarrow.array([None if cell is None else str(cell) for cell in cells], pyarrow.string())


def _common_type(kinds: Sequence[pyarrow.DataType]) -> pyarrow.DataType:
    """Return the type of a column for those of its chunks."""
    import pyarrow

    found = [kind for kind in dict.fromkeys(kinds) if not pyarrow.types.is_null(kind)]
    if len(found) <= 1:
        return found[0] if found else pyarrow.float64()
    numbers = all(pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) for kind in found)
    return pyarrow.float64() if numbers else pyarrow.string()
