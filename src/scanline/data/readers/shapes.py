"""From the rows of a table to sequences: a long table has one for each step, a wide one for each sequence."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import Found, Place, name_classes, shown
from scanline.data.memory import MemorySource
from scanline.data.readers.columns import Columns, settle
from scanline.data.readers.pictures import as_pictures
from scanline.data.readers.tables import Names, Table, read_table
from scanline.data.source import ClassName
from scanline.data.splits import PARTS
from scanline.errors import UsageError
from scanline.recipe import DataSettings

_PART_NAMES = {"training": "train", "valid": "validation", "val": "validation", "testing": "test"}


def read_sequences(path: Path, settings: DataSettings, optional: Collection[str] = ()) -> Found:
    """The sequences in the CSV or Parquet file `path`. optional: columns that may be absent.

    Raises DataError naming the line, what was expected and what was found, UsageError if the table can be
    understood in more than one way.
    """
    table = read_table(path, settings, optional)
    _check_named(table, "id", "sequence")
    _check_named(table, "group", "group")
    shape: str = settings.shape
    guessed = list(table.notes)
    if not shape:
        shape = _guess(table)
        guessed.insert(0, f"a {shape} table, a row for each {'step' if shape == 'long' else 'sequence'}")
    if shape == "long":
        if table.time is None:
            guessed.append("rows in order of time")
        found = _long(table, settings)
    else:
        found = _wide(table, settings)
        guessed += found.notes
        found = replace(found, notes=())
    told = [f"{path}: taken for {'; '.join(guessed)}"] if guessed else []
    return replace(found, notes=(*told, *found.notes))


def _guess(table: Table) -> str:
    """ "long" or "wide"."""
    columns, ids = table.columns, table.id
    if columns.time and not columns.id:
        raise UsageError(
            f"{table.path}: which column names the sequence that a row belongs to? Say it by --id-column, or "
            "say --shape wide if each row is a sequence"
        )
    repeats = ids is not None and len(ids.texts) < len(ids.codes)
    if columns.time and not repeats:
        raise UsageError(
            f"{table.path}: is each row a step, or a sequence? There is a time column, {columns.time}, but "
            f"each {columns.id} has a single row; say --shape long or wide"
        )
    return "long" if repeats else "wide"


# --- long


def _long(table: Table, settings: DataSettings) -> Found:
    columns, ids = table.columns, table.id
    if ids is None:
        raise UsageError(
            f"{table.path}: a long table needs a column that names the sequence of a row: "
            "say it by --id-column"
        )
    if columns.length:
        raise UsageError(
            f"{table.path}: a long table has no length column, its sequences are as long as they have rows: "
            f"got --length-column {columns.length}"
        )
    order, notes = _order(table, ids)
    codes = ids.codes if order is None else ids.codes[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])
    lengths = np.diff(np.append(starts, len(codes)))
    first_rows = starts if order is None else order[starts]
    place = table.place  # the table itself is not kept

    def where(index: int, step: int = 0) -> str:
        row = starts[index] + step
        return place(int(row if order is None else order[row]))

    for role in ("label", "group", "split"):
        names: Names | None = getattr(table, role)
        if names is not None:
            _check_constant(table, role, names, order, starts, lengths)
    flat = table.values if order is None else table.values[order]
    return _found(table, settings, "long", flat, lengths, first_rows, where, notes)


def _order(table: Table, ids: Names) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Rows so that sequences stand together, each in order of time; None if they do already. And notes."""
    codes, time = ids.codes, table.time
    order = None
    notes: tuple[str, ...] = ()
    if np.count_nonzero(codes[1:] != codes[:-1]) != len(ids.texts) - 1:
        order = np.argsort(codes, kind="stable")
    if time is None:
        return order, ()
    if order is not None:
        codes, time = codes[order], time[order]
    same = codes[1:] == codes[:-1]
    back = same & (time[1:] < time[:-1])  # no differences: they run over in small and unsigned numbers
    if back.any():
        late = len(np.unique(codes[1:][back]))
        notes = (f"{table.path}: {late:,} of {len(ids.texts):,} sequences were not in order of time: sorted",)
        again = np.lexsort((time, codes))
        order = again if order is None else order[again]
        codes, time = codes[again], time[again]  # and same stays the same
    twice = np.flatnonzero(same & (time[1:] == time[:-1]))
    if twice.size:
        rows = (int(twice[0]), int(twice[0]) + 1)
        one, other = rows if order is None else (int(order[row]) for row in rows)
        more = f" ({twice.size:,} such pairs)" if twice.size > 1 else ""
        table.fail(
            other,
            f"expected one row of sequence {shown(ids.texts[codes[rows[0]]])} at each time, found another of "
            f"the same {shown(table.columns.time)} in {table.place(one)}{more}",
        )
    return order, notes


def _check_constant(
    table: Table,
    role: str,
    names: Names,
    order: NDArray[np.int64] | None,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> None:
    codes = names.codes if order is None else names.codes[order]
    strange = np.flatnonzero(codes != np.repeat(codes[starts], lengths))
    if strange.size:
        row = int(strange[0])
        start = int(starts[np.searchsorted(starts, row, side="right") - 1])
        table.fail(
            row if order is None else int(order[row]),
            f"expected one {role} for a sequence, {shown(names.texts[codes[start]])!r} as in "
            f"{table.place(start if order is None else int(order[start]))}, "
            f"found {shown(names.texts[codes[row]])!r}",
            getattr(table.columns, role),
        )


# --- wide


def _wide(table: Table, settings: DataSettings) -> Found:
    columns, ids = table.columns, table.id
    rows, width = table.values.shape
    place = table.place

    def where(index: int, step: int = 0) -> str:
        return place(index)

    if ids is not None and len(ids.texts) < rows:
        row = int(np.flatnonzero(ids.codes != np.arange(rows))[0])  # names are counted as they appear
        first = int(ids.codes[row])
        table.fail(
            row,
            f"expected a row for each {shown(columns.id)}, found {shown(ids.texts[first])!r} as in "
            f"{table.place(first)}",
        )
    lengths = np.full(rows, width, np.int64)
    flat = table.values.reshape(-1, 1)
    if table.counts is not None:
        counts = table.counts
        wrong = np.flatnonzero((np.trunc(counts) != counts) | (counts < 1) | (counts > width))
        if wrong.size:
            row = int(wrong[0])
            what = f"expected a length of 1 to {width}, found {counts[row]:g}"
            table.fail(row, what, columns.length)
        lengths = counts.astype(np.int64)
        flat = table.values[np.arange(width) < lengths[:, None]][:, None]
    found = _found(table, settings, "wide", flat, lengths, np.arange(rows), where)
    if settings.picture == "none":
        return found
    size = settings.picture_size
    if size is not None:
        return as_pictures(found, size)
    size = _named_picture(columns)
    return found if size is None else as_pictures(found, size, "by the columns' names")


def _named_picture(columns: Columns) -> tuple[int, int] | None:
    """(height, width) where the columns are called as published tables of pictures call their pixels."""
    names = columns.features
    corner = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", names[-1])
    if corner:
        height, width = int(corner[1]), int(corner[2])
        if height * width == len(names) and names == tuple(
            f"{row}x{column}" for row in range(1, height + 1) for column in range(1, width + 1)
        ):
            return height, width
    side = math.isqrt(len(names))
    for stem in ("pixel", "pixel_"):
        for first in (0, 1):
            if side**2 == len(names) and names == tuple(f"{stem}{first + i}" for i in range(len(names))):
                return side, side
    return None


# --- both


def _check_named(table: Table, role: str, what: str) -> None:
    """Raises DataError naming the first row whose sequence, or group, has no name."""
    names: Names | None = getattr(table, role)
    if names is not None and "" in names.texts:
        row = int(np.flatnonzero(names.codes == names.texts.index(""))[0])
        table.fail(row, f"expected the name of a {what}, found nothing", getattr(table.columns, role))


def _found(
    table: Table,
    settings: DataSettings,
    shape: str,
    flat: NDArray[Any],
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    where: Place,
    notes: tuple[str, ...] = (),
) -> Found:
    """rows: (N,) the first row of each sequence."""
    classes: tuple[ClassName, ...] = ()
    labels = np.zeros(len(rows), np.int64)
    if table.label is not None:
        classes, labels = name_classes(table.label.texts, table.label.codes[rows], str(table.path), where)
    sequences = MemorySource(
        flat,
        lengths,
        labels,
        classes,
        str(table.path),
        ids=None if table.id is None else table.id.at(rows),
        groups=None if table.group is None else table.group.at(rows),
    )
    parts = None if table.split is None else _parts(table, table.split, rows)
    chosen = settle(settings, table.columns, shape)
    return Found(sequences, chosen, where, table.columns.features, parts, notes)


def _parts(table: Table, split: Names, rows: NDArray[np.int64]) -> NDArray[Any]:
    said = [text.strip().lower() for text in split.texts]
    named = [_PART_NAMES.get(text, text) for text in said]
    strange = [text for text, name in zip(split.texts, named, strict=True) if name not in PARTS]
    if strange:
        row = int(np.flatnonzero(split.codes == split.texts.index(strange[0]))[0])
        what = f"expected train, validation or test, found {shown(strange[0])!r}"
        table.fail(row, what, table.columns.split)
    parts: NDArray[Any] = np.array(named, dtype=object)[split.codes[rows]]
    return parts
