"""Reads sequences from tables: a long table has a row for each step, a wide one for each sequence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.data.dataset import SPLITS
from scanline.data.intervals import measure
from scanline.data.memory import MemorySource
from scanline.data.readers.bookkeeping import separate_bookkeeping
from scanline.data.readers.column_roles import AMBIGUOUS, Columns, settle
from scanline.data.readers.list_columns import has_lists, read_list_columns
from scanline.data.readers.names import Names
from scanline.data.readers.pictures import as_pictures
from scanline.data.readers.row_order import order_rows
from scanline.data.readers.split_names import SPLIT_NAMES
from scanline.data.readers.table_rows import cell_of
from scanline.data.readers.tables import Table, read_table
from scanline.data.source import ClassName
from scanline.data.source_info import Locate, SourceInfo
from scanline.data.static_features import check_static, with_static
from scanline.data.step_targets import encode_step_labels, encode_step_numbers
from scanline.data.targets import STEP_CLASSES, STEP_NUMBERS, check_step_settings, encode_labels
from scanline.data.time_features import check_unit, compute, feature_names
from scanline.errors import DataError, UsageError, one_line, quoted
from scanline.recipe import DataSettings


def read_table_sequences(path: Path, settings: DataSettings, optional: Collection[str] = ()) -> MemorySource:
    """Read the sequences in a CSV or Parquet file.

    Args:
        path: The file.
        settings: Shape of the table and roles of its columns.
        optional: Roles of columns that may be absent.

    Raises:
        DataError: Names the line, what was expected and what was found.
        UsageError: If the table can be understood in more than one way.
    """
    if path.suffix.lower() == ".parquet" and has_lists(path):
        return read_list_columns(path, settings, optional)
    table = read_table(path, settings, optional)
    searched = not optional and not settings.feature_columns and settings.step_columns == ()
    check_named(table)
    shape: str = settings.shape
    guessed = not shape
    shape = shape or _guess(table)
    if searched:
        table = separate_bookkeeping(table, shape)
    inferred = list(table.notes)
    if guessed:
        inferred.insert(0, f"a {shape} table, a row for each {'step' if shape == 'long' else 'sequence'}")
    if shape == "long":
        if table.time is None:
            inferred.append("rows in order of time")
        source = _long(table, settings)
        notes = source.info.notes
    else:
        source = _wide(table, settings)
        inferred += source.info.notes
        notes = ()
    if inferred:
        notes = (f"{path}: read as {'; '.join(inferred)}", *notes)
    return replace(source, info=replace(source.info, notes=notes))


def _guess(table: Table) -> str:
    """Return "long" or "wide". Raises UsageError if the columns do not decide it."""
    columns, ids = table.columns, table.id
    if columns.time and not columns.id:
        raise UsageError(
            f"{table.path}: which column identifies the sequence of a row? Give it with --id-column, or give "
            "--shape wide if each row is a sequence",
            code=AMBIGUOUS,
        )
    repeats = ids is not None and len(ids.texts) < len(ids.codes)
    if columns.time and not repeats:
        raise UsageError(
            f"{table.path}: is each row a step, or a sequence? There is a time column, {columns.time}, but "
            f"each {columns.id} has a single row; give --shape long or wide",
            code=AMBIGUOUS,
        )
    return "long" if repeats else "wide"


# --- long


@dataclass(frozen=True, eq=False)
class LongRows:
    """The rows of a long table as sequences.

    order: (R,) the rows in the order of the sequences and their steps; None if they are in it.
    starts: (N,) where each sequence starts in this order. lengths: (N,) its number of steps.
    first: (N,) its first row. notes: what was done, for the user.
    """

    order: NDArray[np.int64] | None
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    first: NDArray[np.int64]
    notes: tuple[str, ...]

    def locate(self, place: Callable[[int], str]) -> Locate:
        """Return what names the place of a step, given what names the place of a row."""
        order, starts = self.order, self.starts

        def locate(index: int, step: int = 0, /) -> str:
            row = starts[index] + step
            return place(int(row if order is None else order[row]))

        return locate


def find_sequences(table: Table, by_step: bool = False) -> LongRows:
    """Return which rows of a long table are which steps of which sequences.

    Args:
        table: The table.
        by_step: Whether each step has a label of its own.

    Raises:
        DataError: If two rows of a sequence have the same time, or different labels, groups or splits.
        UsageError: If no column identifies the sequences, or times of day are in doubt.
    """
    columns, ids = table.columns, table.id
    if ids is None:
        raise UsageError(
            f"{table.path}: a long table needs a column that identifies the sequence of a row: "
            "give it with --id-column"
        )
    if columns.length:
        raise UsageError(
            f"{table.path}: a long table has no length column, because its rows are the steps: "
            f"got --length-column {columns.length}"
        )
    order, notes = order_rows(table, ids)
    codes = ids.codes if order is None else ids.codes[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])
    lengths = np.diff(np.append(starts, len(codes)))
    first = starts if order is None else order[starts]
    for role in ("group", "split") if by_step else ("label", "group", "split"):
        names: Names | None = getattr(table, role)
        if names is not None:
            _check_constant(table, role, names, order, starts, lengths)
    return LongRows(order, starts, lengths, first, notes)


def _long(table: Table, settings: DataSettings) -> MemorySource:
    rows = find_sequences(table, settings.targets in (STEP_CLASSES, STEP_NUMBERS))
    source = _with_times(_long_source(table, settings, rows), table, rows, settings)
    static = source.info.static
    if settings.pad_value not in ("", "none"):  # rows of padding would have values if they were filled
        check_static(source, static)
        return source
    return with_static(source, static)


def _with_times(source: MemorySource, table: Table, rows: LongRows, settings: DataSettings) -> MemorySource:
    """Return the sequences of a long table with the features of their times, and the intervals."""
    chosen, column = settings.time_features, table.columns.time
    if table.time is None:
        return source
    times = table.time if rows.order is None else table.time[rows.order]
    info = replace(source.info, intervals=measure(times, rows.starts, table.unit, source.identifier))
    if not chosen:
        return replace(source, info=info)
    check_unit(chosen, table.unit, f"{table.path}{cell_of(column)}")
    added = feature_names(chosen, column)
    if twice := [name for name in added if name in info.feature_names]:
        raise DataError(f"{table.path}: expected no column {one_line(twice[0])!r} beside the time feature")
    info = replace(
        info,
        feature_names=(*info.feature_names, *added),
        categories=info.categories and (*info.categories, *(None for _ in added)),
        time_kind=table.unit.kind,
    )
    computed = compute(chosen, times, rows.starts, table.unit)
    return replace(source, concatenated=np.concatenate([source.concatenated, computed], 1), info=info)


def _long_source(table: Table, settings: DataSettings, rows: LongRows) -> MemorySource:
    by_step = settings.targets in (STEP_CLASSES, STEP_NUMBERS)
    locate = rows.locate(table.place)  # without the table, so that it can be freed
    steps = table.values if rows.order is None else table.values[rows.order]
    label = table.label
    if not by_step or label is None:
        return _make_source(table, settings, "long", steps, rows.lengths, rows.first, locate, rows.notes)
    source = _make_source(
        replace(table, label=None), settings, "long", steps, rows.lengths, rows.first, locate, rows.notes
    )
    codes = label.codes if rows.order is None else label.codes[rows.order]
    classes: tuple[ClassName, ...]
    if settings.targets == STEP_NUMBERS:
        decimal = table.decimal or settings.decimal
        classes, targets = encode_step_numbers(
            label.values, codes, rows.lengths, source.name, locate, decimal
        )
    else:
        typed = bool(label.kind)
        classes, targets = encode_step_labels(label.values, codes, rows.lengths, source.name, locate, typed)
    return replace(source, step_targets=targets, classes=classes)


def _check_constant(
    table: Table,
    role: str,
    names: Names,
    order: NDArray[np.int64] | None,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> None:
    codes = names.codes if order is None else names.codes[order]
    different = np.flatnonzero(codes != np.repeat(codes[starts], lengths))
    if different.size:
        row = int(different[0])
        start = int(starts[np.searchsorted(starts, row, side="right") - 1])
        remedy = (
            "; for a label at each step use --task step-classification or step-regression"
            if role == "label"
            else ""
        )
        table.fail(
            row if order is None else int(order[row]),
            f"expected one {role} for a sequence, {quoted(names.texts[codes[start]])} as in "
            f"{table.place(start if order is None else int(order[start]))}, "
            f"found {quoted(names.texts[codes[row]])}{remedy}",
            getattr(table.columns, role),
        )


# --- wide


def _wide(table: Table, settings: DataSettings) -> MemorySource:
    check_step_settings(settings, str(table.path), "a wide table (a row for each sequence)")
    columns, ids = table.columns, table.id
    for what, given in (("static columns", columns.static), ("time features", settings.time_features)):
        if given:
            raise UsageError(
                f"{table.path}: {what} belong to a long table (a row for each step), got a wide one"
            )
    if columns.categorical:
        _refuse_text(table)
    rows, width = table.values.shape
    place = table.place

    def locate(index: int, step: int = 0, /) -> str:
        return place(index)

    if ids is not None and len(ids.texts) < rows:
        row = int(np.flatnonzero(ids.codes != np.arange(rows))[0])  # codes are numbered by first appearance
        first = int(ids.codes[row])
        table.fail(
            row,
            f"expected a row for each {one_line(columns.id)}, found {quoted(ids.texts[first])} as in "
            f"{table.place(first)}",
        )
    lengths = np.full(rows, width, np.int64)
    steps = table.values.reshape(-1, 1)
    if table.counts is not None:
        counts = table.counts
        wrong = np.flatnonzero((np.trunc(counts) != counts) | (counts < 1) | (counts > width))
        if wrong.size:
            row = int(wrong[0])
            fault = f"expected a length of 1 to {width}, found {counts[row]:g}"
            table.fail(row, fault, columns.length)
        lengths = counts.astype(np.int64)
        steps = table.values[np.arange(width) < lengths[:, None]][:, None]
    source = _make_source(table, settings, "wide", steps, lengths, np.arange(rows), locate)
    if settings.picture == "none":
        return source
    size = settings.picture_size
    if size is not None:
        return as_pictures(source, size)
    size = _named_picture(columns)
    return source if size is None else as_pictures(source, size, "by the names of the columns")


def _refuse_text(table: Table) -> NoReturn:
    """Raise DataError for a wide table with text: each of its columns would be a step."""
    columns = table.columns
    name = columns.categorical[0]
    index = columns.features.index(name)
    names = table.categories[index] or ()
    row = next(row for row, code in enumerate(table.values[:, index]) if names[int(code)])
    numbers = [other for other in columns.features if other not in columns.categorical]
    listed = ",".join(numbers) if len(",".join(numbers)) <= 200 and numbers else "A,B,..."
    table.fail(
        row,
        f"expected a number, found {quoted(names[int(table.values[row, index])])}; choose the columns with "
        f"values, such as --feature-columns {listed}",
        name,
    )


def _named_picture(columns: Columns) -> tuple[int, int] | None:
    """(height, width) if the columns are named like pixels in published tables of pictures, else None."""
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


def check_named(table: Table) -> None:
    """Check that every row names its sequence and group. Raises DataError naming the first that does not."""
    for role, what in (("id", "sequence"), ("group", "group")):
        names: Names | None = getattr(table, role)
        if names is not None and "" in names.texts:
            row = int(np.flatnonzero(names.codes == names.texts.index(""))[0])
            table.fail(row, f"expected the name of a {what}, found nothing", getattr(table.columns, role))


def _make_source(
    table: Table,
    settings: DataSettings,
    shape: str,
    steps: NDArray[Any],
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    locate: Locate,
    notes: tuple[str, ...] = (),
) -> MemorySource:
    """Make the source. rows: (N,) the first row of each sequence."""
    classes: tuple[ClassName, ...] = ()
    labels = np.zeros(len(rows), np.int64)
    if table.label is not None:
        label = table.label
        typed = bool(label.kind)
        # Labels are written as the other numbers of the file are.
        how = settings.model_copy(update={"decimal": table.decimal or settings.decimal})
        classes, labels = encode_labels(label.values, label.codes[rows], str(table.path), locate, how, typed)
    return MemorySource(
        steps,
        lengths,
        labels,
        classes,
        str(table.path),
        ids=None if table.id is None else table.id.at(rows),
        groups=None if table.group is None else table.group.at(rows),
        info=SourceInfo(
            settle(settings, table.columns, shape),
            locate,
            table.columns.features,
            None if table.split is None else _assigned_splits(table, table.split, rows),
            notes,
            categories=table.categories,
            static=tuple(table.columns.features.index(name) for name in table.columns.static),
        ),
    )


def _assigned_splits(table: Table, split: Names, rows: NDArray[np.int64]) -> NDArray[Any]:
    splits: NDArray[Any] = np.array(split_names(table, split), dtype=object)[split.codes[rows]]
    return splits


def split_names(table: Table, split: Names) -> list[str]:
    """Return the split that each text of the split column stands for.

    Raises:
        DataError: If that of some row stands for none; names the row.
    """
    texts = [text.strip().lower() for text in split.texts]
    named = [SPLIT_NAMES.get(text, text) for text in texts]
    unknown = [code for code, name in enumerate(named) if name not in SPLITS]
    rows = np.flatnonzero(np.isin(split.codes, unknown)) if unknown else np.zeros(0, np.int64)
    if rows.size:
        row = int(rows[0])
        fault = f"expected train, validation or test, found {quoted(split.texts[split.codes[row]])}"
        table.fail(row, fault, table.columns.split)
    return named
